-- Files to Delta tables, column by column as the files have them. NA is a missing value. Each :'name' is a file of `data/`;
-- with psql: -v flights_2013_01=/path/to/flights_2013_01.csv.gz and so on.
CREATE TABLE raw.flights (
    year smallint NOT NULL,
    month smallint NOT NULL,
    day smallint NOT NULL,
    dep_time smallint,
    sched_dep_time smallint NOT NULL,
    dep_delay smallint,
    arr_time smallint,
    sched_arr_time smallint NOT NULL,
    arr_delay smallint,
    carrier varchar(2) NOT NULL,
    flight integer NOT NULL,
    tailnum varchar(6),
    origin varchar(3) NOT NULL,
    dest varchar(3) NOT NULL,
    air_time smallint,
    distance smallint NOT NULL,
    hour smallint NOT NULL,
    minute smallint NOT NULL,
    time_hour timestamptz NOT NULL,
    CONSTRAINT a_real_distance CHECK (distance > 0),
    -- What the files really hold: some flights never left, some never landed where they should.
    CONSTRAINT departed EXPECT (dep_time IS NOT NULL) WITH (mostly = 0.95, severity = 'warning', description = 'up to 5 % are cancelled'),
    CONSTRAINT landed EXPECT (dep_time IS NULL OR air_time IS NOT NULL) WITH (mostly = 0.99, severity = 'warning')
) USING DELTA PARTITIONED BY (month) COMMENT 'Flights that left New York in 2013, as published';

COPY raw.flights FROM :'flights_2013_01' WITH (FORMAT csv, HEADER true, NULL 'NA');
COPY raw.flights FROM :'flights_2013_02' WITH (FORMAT csv, HEADER true, NULL 'NA');
COPY raw.flights FROM :'flights_2013_03' WITH (FORMAT csv, HEADER true, NULL 'NA');

CREATE TABLE raw.weather (
    origin varchar(3) NOT NULL,
    year smallint NOT NULL,
    month smallint NOT NULL,
    day smallint NOT NULL,
    hour smallint NOT NULL,
    temp double precision,
    dewp double precision,
    humid double precision,
    wind_dir smallint,
    wind_speed double precision,
    wind_gust double precision,
    precip double precision,
    pressure double precision,
    visib double precision,
    time_hour timestamptz NOT NULL,
    CONSTRAINT possible_wind EXPECT (wind_speed < 250) ON VIOLATION QUARANTINE ROW WITH (ignore_nulls = true)
) USING DELTA COMMENT 'Hourly weather at the three airports; temperatures in °F, speeds in mph, precipitation in inches';

COPY raw.weather FROM :'weather_2013_q1' WITH (FORMAT csv, HEADER true, NULL 'NA');

CREATE TABLE raw.airlines (
    carrier varchar(2) NOT NULL,
    name text NOT NULL
) USING DELTA;

COPY raw.airlines FROM :'airlines' WITH (FORMAT csv, HEADER true, NULL 'NA');

CREATE TABLE raw.airports (
    faa varchar(3) NOT NULL,
    name text NOT NULL,
    lat double precision NOT NULL,
    lon double precision NOT NULL,
    alt integer,
    tz smallint,
    dst text,
    tzone text,
    CONSTRAINT an_american_zone EXPECT (tzone LIKE 'America/%' OR tzone LIKE 'Pacific/%') ON VIOLATION QUARANTINE ROW
) USING DELTA;

COPY raw.airports FROM :'airports' WITH (FORMAT csv, HEADER true, NULL 'NA');

CREATE TABLE raw.planes (
    tailnum varchar(6) NOT NULL,
    year smallint,
    type text,
    manufacturer text,
    model text,
    engines smallint,
    seats smallint,
    speed smallint,
    engine text
) USING DELTA;

COPY raw.planes FROM :'planes' WITH (FORMAT csv, HEADER true, NULL 'NA');

-- What is true of whole tables, or not.
CREATE EXPECTATION known_planes ON raw.flights EXPECT (FOREIGN KEY (tailnum) REFERENCES raw.planes (tailnum)) WITH (mostly = 0.9, severity = 'warning');
CREATE EXPECTATION known_airlines ON raw.flights EXPECT (FOREIGN KEY (carrier) REFERENCES raw.airlines (carrier)) WITH (severity = 'critical');
CREATE EXPECTATION one_row_an_hour ON raw.weather EXPECT (UNIQUE (origin, time_hour));
CREATE EXPECTATION days_of_24_hours ON raw.weather EXPECT (count(*) = 3 * 24 * count(DISTINCT make_date(year, month, day))) WITH (severity = 'warning');
VALIDATE raw.flights;
VALIDATE raw.weather;
