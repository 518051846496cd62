-- Worth trying: each is printed by `make demo`.
SELECT week, flights, cancelled, avg_arr_delay FROM analytics.weekly_trend ORDER BY week;
SELECT airline, sum(flights) AS flights, round(avg(late_percent), 1) AS late_percent FROM analytics.daily_by_airline GROUP BY airline ORDER BY late_percent DESC LIMIT 5;
SELECT origin, dest, count(*) AS flights, percentile_cont(0.5) WITHIN GROUP (ORDER BY arr_delay) AS median_delay FROM processed.flights WHERE NOT cancelled GROUP BY origin, dest ORDER BY flights DESC LIMIT 5;
SELECT r2_score, mean_absolute_error, median_absolute_error FROM ML.EVALUATE(MODEL analytics.arrival_delay);
SELECT feature, round(importance_gain::numeric, 3) AS gain, round(importance_permutation::numeric, 3) AS permutation FROM ML.FEATURE_IMPORTANCE(MODEL analytics.arrival_delay) LIMIT 5;
SELECT day, flights, avg_arr_delay, avg_expected_delay, late, expected_late FROM analytics.daily_expected WHERE day >= date '2013-03-12' ORDER BY day;
SELECT predict('analytics.arrival_delay', dep_delay => 10, carrier => 'B6', origin => 'JFK', dest => 'LAX', distance => 2475, scheduled_hour => timestamptz '2013-04-01 18:00 America/New_York', seats => 200, plane_age => 5, wind_speed => 20, precip => 0, visib => 10) AS minutes;
SELECT r."table", r.rule, r.status, r.checked, r.failed, r.quarantined, r.threshold FROM lakegate.expectation_results AS r JOIN lakegate.expectation_runs AS v USING (run_id) WHERE v.source = 'VALIDATE' OR r.quarantined > 0 ORDER BY run_id, r.rule;
SELECT origin, time_hour, wind_speed, _rules FROM raw.weather_quarantine;
SELECT faa, name, lon, tzone, _rules FROM raw.airports_quarantine ORDER BY faa;
SELECT month, count(*) AS flights, count(*) - count(dep_time) AS not_departed, count(dep_time) - count(air_time) AS not_landed FROM raw.flights GROUP BY month ORDER BY month;
SELECT a.name AS airline, count(*) AS flights, count(DISTINCT f.tailnum) AS unknown_planes FROM raw.flights AS f JOIN raw.airlines AS a USING (carrier) WHERE f.tailnum NOT IN (SELECT tailnum FROM raw.planes) GROUP BY a.name ORDER BY flights DESC LIMIT 3;
SELECT d.day, h.hour, 3 - count(w.origin) AS airports_without, extract(hour FROM (make_timestamp(2013, d.month, d.dom, h.hour, 0, 0) AT TIME ZONE 'America/New_York') AT TIME ZONE 'America/New_York') <> h.hour AS swallowed_by_summer_time FROM (SELECT DISTINCT month::int AS month, day::int AS dom, make_date(year, month, day) AS day FROM raw.weather) AS d CROSS JOIN generate_series(0, 23) AS h(hour) LEFT JOIN raw.weather AS w ON w.month = d.month AND w.day = d.dom AND w.hour = h.hour GROUP BY d.day, d.month, d.dom, h.hour HAVING count(w.origin) = 0 ORDER BY d.day, h.hour;
