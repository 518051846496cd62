-- One clean row a flight: real dates, names for codes, the plane's age and the weather of its hour.
CREATE TABLE processed.flights USING DELTA PARTITIONED BY (month) AS
SELECT
    f.month,
    make_date(f.year, f.month, f.day) AS day,
    f.time_hour AS scheduled_hour,
    f.carrier,
    a.name AS airline,
    f.flight,
    f.tailnum,
    f.origin,
    f.dest,
    d.name AS destination,
    f.dep_delay,
    f.arr_delay,
    f.air_time,
    f.distance,
    f.dep_time IS NULL AS cancelled,
    coalesce(f.arr_delay > 15, false) AS late,
    f.year - p.year AS plane_age,
    p.seats,
    w.temp,
    w.wind_speed,
    w.precip,
    w.visib
FROM raw.flights AS f
JOIN raw.airlines AS a ON a.carrier = f.carrier
LEFT JOIN raw.airports AS d ON d.faa = f.dest
LEFT JOIN raw.planes AS p ON p.tailnum = f.tailnum
LEFT JOIN raw.weather AS w ON w.origin = f.origin AND w.time_hour = f.time_hour;
