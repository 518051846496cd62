-- Worth trying: each is printed by `make demo`.
SELECT week, flights, cancelled, avg_arr_delay FROM analytics.weekly_trend ORDER BY week;
SELECT airline, sum(flights) AS flights, round(avg(late_percent), 1) AS late_percent FROM analytics.daily_by_airline GROUP BY airline ORDER BY late_percent DESC LIMIT 5;
SELECT origin, dest, count(*) AS flights, percentile_cont(0.5) WITHIN GROUP (ORDER BY arr_delay) AS median_delay FROM processed.flights WHERE NOT cancelled GROUP BY origin, dest ORDER BY flights DESC LIMIT 5;
