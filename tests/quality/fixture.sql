-- The tables that catalogue.toml speaks of; {folder} is where the CSV files lie.
CREATE TABLE good (id bigint, code text, status text, kind text, age bigint, x float, y float, a bigint, b bigint, c bigint, email text, day text, doc text, profile text, up bigint, down bigint, ref bigint, lo bigint, hi bigint, hole float);
COPY good FROM '{folder}/good.csv' (FORMAT csv, HEADER);
CREATE TABLE bad AS SELECT * FROM good LIMIT 0;
COPY bad FROM '{folder}/bad.csv' (FORMAT csv, HEADER);
CREATE TABLE other AS SELECT * FROM good;
CREATE TABLE many AS SELECT * FROM bad;
CREATE TABLE parents AS SELECT g::bigint AS id FROM generate_series(1, 3) AS g;
CREATE TABLE narrow AS SELECT id, age::text AS age, x::text AS "Z_1" FROM good;
CREATE TABLE swapped AS SELECT id, a, c AS b, b AS c, hi AS lo, lo AS hi, CASE WHEN id = 1 THEN upper(kind) ELSE kind END AS kind FROM good;
CREATE TABLE events (at timestamptz, label text, url text, card text, ssn text);
INSERT INTO events VALUES (now() - INTERVAL '1 hour', 'a', 'https://example.com/a', '4111 1111 1111 1111', '123-45-6789'), (now() - INTERVAL '2 hours', 'b', 'http://example.org', '5500000000000004', '219-09-9999'), (now() - INTERVAL '3 hours', 'a', 'https://sub.example.com/b?c', '340000000000009', '457-55-5462');
CREATE TABLE stale (at timestamptz, label text, url text, card text, ssn text);
INSERT INTO stale VALUES (now() - INTERVAL '9 days', NULL, 'no', '1', '000-12-3456'), (now() - INTERVAL '10 days', NULL, 'ftp:/x', '2', '12'), (now() - INTERVAL '13 days', NULL, '', NULL, 'x');
