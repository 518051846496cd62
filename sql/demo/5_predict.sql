-- How late a flight lands, told when it leaves: learned from the first ten weeks, evaluated on the days after them.
CREATE OR REPLACE MODEL analytics.arrival_delay
TRANSFORM (
    dep_delay,
    carrier,
    origin,
    dest,
    distance,
    extract(hour FROM scheduled_hour AT TIME ZONE 'America/New_York')::integer AS hour,
    seats,
    plane_age,
    wind_speed,
    precip,
    visib,
    arr_delay,
    held_out
)
OPTIONS (model_type = 'boosted_tree_regressor', label = 'arr_delay', split_column = 'held_out', num_iterations = 60, learning_rate = 0.15, seed = 1)
AS SELECT *, day >= date '2013-03-12' AS held_out FROM processed.flights WHERE dep_delay IS NOT NULL;

-- Each day as it was and as the model saw it.
CREATE VIEW analytics.daily_expected AS
SELECT
    day,
    count(*) AS flights,
    round(avg(arr_delay), 1) AS avg_arr_delay,
    round(avg(expected)::numeric, 1) AS avg_expected_delay,
    count(*) FILTER (WHERE late) AS late,
    count(*) FILTER (WHERE expected > 15) AS expected_late
FROM (SELECT f.day, f.arr_delay, f.late, predict('analytics.arrival_delay', f.*) AS expected FROM processed.flights AS f WHERE f.dep_delay IS NOT NULL) AS flights
GROUP BY day;
