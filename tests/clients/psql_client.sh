#!/usr/bin/env bash
# psql: its backslash commands, \copy, portions by FETCH_COUNT, \gdesc, cancel by SIGINT, an error's fields.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

ask() { psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }

# expect NAME PATTERN COMMAND…: the output of the command matches the extended regular expression.
expect() {
    local name=$1 pattern=$2 out
    shift 2
    if ! out=$("$@" 2>&1); then
        echo "$name: failed: $out"
        exit 1
    fi
    if ! grep -qE -- "$pattern" <<<"$out"; then
        printf '%s: no %s in:\n%s\n' "$name" "$pattern" "$out"
        exit 1
    fi
}

PGOPTIONS='-c client_min_messages=warning' ask -c 'DROP VIEW IF EXISTS psql_v' -c 'DROP TABLE IF EXISTS psql_t'
ask -c 'CREATE TABLE psql_t (id int NOT NULL, name varchar(20), price numeric(8,2), CONSTRAINT cheap CHECK (price < 1000))'
ask -c 'CREATE VIEW psql_v AS SELECT id, name FROM psql_t'
for i in $(seq 0 299); do echo "$i,name $i,$i.25"; done >"$work/rows.csv"
expect '\copy from' 'COPY 300' psql -X -c "\\copy psql_t FROM '$work/rows.csv' CSV"
ask -c "\\copy (SELECT id, name FROM psql_t WHERE id < 2 ORDER BY id) TO '$work/out.csv' CSV HEADER"
[ "$(cat "$work/out.csv")" = $'id,name\n0,name 0\n1,name 1' ]
expect 'COPY from stdin' 'COPY 1' psql -X -c 'COPY psql_t FROM STDIN' <<<$'1000\tx\t1'

expect '\d' 'public +\| psql_t +\| table' psql -X -c '\d'
expect '\d t' 'name +\| character varying\(20\)' psql -X -c '\d psql_t'
expect '\d t' 'id +\| integer +\| +\| not null' psql -X -c '\d psql_t'
expect '\d t' '"cheap" CHECK' psql -X -c '\d psql_t'
expect '\d+ t' 'numeric\(8,2\)' psql -X -c '\d+ psql_t'
expect '\d v' 'View "public.psql_v"' psql -X -c '\d psql_v'
expect '\dt' 'psql_t +\| table' psql -X -c '\dt'
expect '\dt pattern' 'psql_t' psql -X -c '\dt public.psql_*'
expect '\dn' 'public' psql -X -c '\dn'
expect '\dv' 'psql_v +\| view' psql -X -c '\dv'
expect '\du' 'lakegate +\| Superuser' psql -X -c '\du'
expect '\l' 'lakegate +\| lakegate +\| UTF8' psql -X -c '\l'
expect '\df' 'lower' psql -X -c '\df pg_catalog.lower'
expect '\dT' 'integer' psql -X -c '\dT int4'
# Every command that asks the catalogs: its query runs, whatever it finds.
for command in '\d pg_class' '\dt+' '\dt *.*' '\dn+' '\dv+' '\du+' '\l+' '\df' '\df+ lower' '\dT+' '\dm' '\dp' '\di' '\ds' '\dx' '\db' '\dC' \
    '\do' '\da' '\dg' '\drds' '\dD' '\dE' '\dy' '\des' '\det' '\dew' '\deu' '\dF' '\dFd' '\dFp' '\dFt' '\dL' '\dO' '\dP' '\dRp' '\dRs' '\dX' \
    '\dc' '\ddp' '\dA' '\dAc' '\dAf' '\dAo' '\dAp' '\dl' '\sv psql_v' '\z'; do
    if ! out=$(psql -X -v ON_ERROR_STOP=1 -c "$command" 2>&1) || grep -q ERROR <<<"$out"; then
        echo "$command: $out"
        exit 1
    fi
done
expect '\conninfo' 'You are connected to database "lakegate" as user "lakegate"' psql -X -c '\conninfo'
expect '\encoding' 'UTF8' psql -X -c '\encoding'
expect 'variables' '^name 7$' ask -v id=7 <<<"SELECT name FROM psql_t WHERE id = :'id';"
expect '\gdesc' 'price +\| numeric\(8,2\)' psql -X <<<'SELECT id, name, price FROM psql_t \gdesc'
expect '\gset' '^301$' ask <<<$'SELECT count(*) AS n FROM psql_t \\gset\n\\echo :n'
expect '\gexec' '^2$' ask <<<$'SELECT \'SELECT 1 + 1\' \\gexec'
expect '\x' 'name +\| name 5' psql -X -x -c 'SELECT * FROM psql_t WHERE id = 5'
expect '\timing' 'Time: [0-9.]+ ms' psql -X <<<$'\\timing on\nSELECT 1;'
expect 'FETCH_COUNT' '^301$' bash -c "psql -X -q -A -t -v FETCH_COUNT=50 -c 'SELECT id FROM psql_t' | wc -l"
expect 'several statements' '^1.2.3$' bash -c "psql -X -q -A -t -c 'SELECT 1; SELECT 2; SELECT 3' | tr '\n' '.' | sed 's/.\$//'"
expect '-f' '^42$' ask -f <(echo 'SELECT 42;')
expect '-1' '^1$' ask -1 -c 'SELECT 1'
expect 'NULL' '∅' psql -X -P null=∅ -c 'SELECT NULL'
if [ "$(psql --version | grep -oE '[0-9]+' | head -1)" -ge 16 ]; then
    expect '\bind' '^8$' ask <<<'SELECT $1::int + 1 \bind 7 \g'
fi

# An error with its place, and all of its fields.
if out=$(psql -X -c 'SELECT id, nope FROM psql_t' 2>&1); then exit 1; fi
grep -q 'ERROR:  column "nope" does not exist' <<<"$out"
grep -q '^LINE 1: SELECT id, nope FROM psql_t' <<<"$out"
grep -q '^                   ^' <<<"$out"
if out=$(psql -X -v VERBOSITY=verbose -c 'SELECT * FROM psql_nope' 2>&1); then exit 1; fi
grep -q 'ERROR:  42P01: relation "psql_nope" does not exist' <<<"$out"
expect 'notice' 'NOTICE:  table "psql_nope" does not exist, skipping' psql -X -c 'DROP TABLE IF EXISTS psql_nope'
if psql -X -v ON_ERROR_STOP=1 -f <(printf 'SELECT 1;\nSELECT nope;\nSELECT 2;\n') >"$work/out" 2>&1; then exit 1; fi
! grep -q '^ *2$' "$work/out"
expect 'ON_ERROR_ROLLBACK off' 'ROLLBACK' psql -X <<<$'BEGIN;\nSELECT nope;\nCOMMIT;'

# SIGINT cancels the statement, not the session.
psql -X -c "SELECT count(*) FROM generate_series(1, 1000000000000) g" >"$work/out" 2>&1 &
running=$!
sleep 0.5
kill -INT $running
if wait $running; then exit 1; fi
grep -q 'canceling statement due to user request' "$work/out"
ask -c 'DROP VIEW psql_v' -c 'DROP TABLE psql_t'
