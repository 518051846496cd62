-- Daily trends for dashboards: small tables that answer at once.
CREATE TABLE analytics.daily USING DELTA AS
SELECT
    day,
    count(*) AS flights,
    count(*) FILTER (WHERE cancelled) AS cancelled,
    round(avg(dep_delay), 1) AS avg_dep_delay,
    round(avg(arr_delay), 1) AS avg_arr_delay,
    round(100.0 * count(*) FILTER (WHERE late) / count(*), 1) AS late_percent,
    round(avg(precip)::numeric, 3) AS avg_precip
FROM processed.flights
GROUP BY day;

CREATE TABLE analytics.daily_by_airline USING DELTA AS
SELECT
    day,
    airline,
    count(*) AS flights,
    count(*) FILTER (WHERE cancelled) AS cancelled,
    round(avg(arr_delay), 1) AS avg_arr_delay,
    round(100.0 * count(*) FILTER (WHERE late) / count(*), 1) AS late_percent
FROM processed.flights
GROUP BY day, airline;

CREATE VIEW analytics.weekly_trend AS
SELECT
    date_trunc('week', day)::date AS week,
    sum(flights) AS flights,
    sum(cancelled) AS cancelled,
    round(avg(avg_arr_delay), 1) AS avg_arr_delay
FROM analytics.daily
GROUP BY 1;
