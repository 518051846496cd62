"""Throws broken and odd input at a running server and reports what it should never answer.

    python3 tests/fuzz/stress.py --port 5432 --seconds 300 [--seed 7] [--only sql,bind] [--pid PID]

Needs nothing but Python. Each round is made from its own seed, which is printed with every finding, so that
`--seed N --rounds 1` repeats it. A finding is: an answer of SQLSTATE XX000, a connection that ends without a FATAL error, an answer that
does not come within ten seconds, or a server that cannot be reached. The exit status is 1 if there was one.
"""

import argparse
import collections
import os
import random
import socket
import struct
import sys
import threading
import time

USER = DATABASE = "lakegate"
PATIENCE_SECONDS = 10

WORDS = """select from where group by order having limit offset union all intersect except distinct on as join left right
full cross inner natural using with recursive lateral values insert into copy to stdin stdout create table view schema drop
if exists not null default primary key check case when then else end cast coalesce nullif greatest least array row interval
date timestamp time numeric int int8 text bool float8 json jsonb uuid bytea between in like ilike similar is true false and or
any some exists extract year epoch substring position trim overlay over partition rows range preceding following unbounded
current filter within count sum avg min max generate_series unnest explain analyze begin commit rollback savepoint set show
reset declare cursor fetch close prepare execute deallocate truncate table grant revoke alter rename column discard vacuum
pg_class pg_type t a b now() random() length( lower( substr( replace( round( abs( to_char( to_date( date_trunc(
array_agg( string_agg( row_number( rank( regexp_replace( split_part( md5( encode( decode( repeat( lpad(""".split()
SYMBOLS = ["(", ")", ",", ";", ".", "*", "+", "-", "/", "%", "^", "=", "<", ">", "<>", "<=", ">=", "||", "::", "[", "]",
           ":", "->", "->>", "#>", "@>", "<@", "~", "!~", "~*", "&&", "&", "|", "#", "<<", ">>", "?", "--", "/*", "*/", "$1",
           "$2", "$0", "$99999", "$$", "$a$", "'", '"', "E'", "U&'", "B'", "X'", "\\", "@", "!", "`", "\0", "\u00e4", "\U0001f600"]
VALUES = ["0", "1", "-1", "2147483647", "-2147483648", "9223372036854775807", "-9223372036854775808", "1e308", "1e-320",
          "99999999999999999999999999999999999999", "0.1", "1.", ".5", "1e400", "'NaN'", "'infinity'", "'-infinity'", "''", "' '",
          "'a'", "null", "true", "false", "'2024-02-29'", "'4713-01-01 BC'", "'294276-12-31 23:59:59.999999'", "'24:00:00'",
          "'1 year -1 day 25:00'", "'{}'", "'{1,2,NULL}'", "'{{1},{2}}'", "'[1,2]'", "'{\"a\":1}'",
          "'00000000-0000-0000-0000-000000000000'", "'\\xdeadbeef'", "E'\\377'", "'%'", "'(a+)+$'", "array[1,2]", "array[]::int[]",
          "row(1,2)", "interval '1 mon'", "date '2024-01-01'", "timestamp 'infinity'", "1::numeric(5,2)", "x'1F'"]
TYPES = ["int2", "int4", "int8", "float4", "float8", "numeric", "numeric(10,2)", "numeric(38,38)", "text", "varchar(3)", "char(3)", "bool", "date",
         "time", "timestamp", "timestamptz", "interval", "uuid", "bytea", "json", "jsonb", "oid", "name", "regclass", "regtype",
         "int4[]", "text[]", "numeric[]", "timestamptz[]", "float8[]", "bool[]", "date[]", "uuid[]", "jsonb[]", "interval[]", '"char"', "int2vector"]
OPERATORS = ["+", "-", "*", "/", "%", "^", "||", "=", "<", ">=", "<>", "~", "~*", "like", "ilike", "->", "->>", "#>", "@>", "<@", "&&",
             "&", "|", "#", "<<", ">>", "is distinct from", "and", "or", "at time zone", "in", "^@", "?"]
FUNCTIONS = """abs ceil floor round trunc sqrt exp ln log power mod sign length lower upper initcap trim ltrim rtrim btrim substr
substring replace split_part strpos left right lpad rpad repeat reverse md5 encode decode to_char to_date to_timestamp to_number
date_trunc date_part age extract now make_date make_timestamp make_interval justify_hours array_length array_upper array_lower
array_append array_cat array_position array_remove array_to_string string_to_array unnest cardinality regexp_replace
regexp_match regexp_matches regexp_split_to_array translate ascii chr concat concat_ws format quote_literal quote_ident nullif
coalesce greatest least json_extract_path jsonb_typeof json_array_length to_json to_jsonb pg_typeof width_bucket
gcd lcm factorial sin cos tan atan2 degrees pi bit_length octet_length overlay position starts_with
generate_series count sum avg min max stddev string_agg array_agg bool_and every corr percentile_cont row_number lag ntile
pg_get_viewdef format_type pg_size_pretty has_table_privilege obj_description current_setting set_config""".split()


class Finding(Exception):
    pass


def message(tag, body=b""):
    return tag + struct.pack(">I", len(body) + 4) + body


def text(value):
    return value.encode("utf-8", "surrogatepass").replace(b"\0", b"") + b"\0"


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
        self.buffer = b""
        body = struct.pack(">I", 196608) + text("user") + text(USER) + text("database") + text(DATABASE) + b"\0"
        self.socket.sendall(struct.pack(">I", len(body) + 4) + body)
        self.until(b"Z")
        self.query("set statement_timeout = '5s'")

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def read(self):
        """One message, or None when the server closed the connection."""
        while True:
            if len(self.buffer) >= 5:
                length = struct.unpack(">I", self.buffer[1:5])[0]
                if len(self.buffer) >= length + 1:
                    whole, self.buffer = self.buffer[:length + 1], self.buffer[length + 1:]
                    return whole[:1], whole[5:]
            try:
                data = self.socket.recv(1 << 16)
            except socket.timeout:
                raise Finding("no answer within ten seconds")
            except ConnectionResetError:
                return None
            if not data:
                return None
            self.buffer += data

    def until(self, wanted, copy=b""):
        """Reads up to a message of that type; answers the errors on the way. Data for COPY is sent when it is asked for."""
        errors, fatal = [], False
        while True:
            got = self.read()
            if got is None:
                if not fatal:
                    raise Finding("the connection ended without a FATAL error")
                return errors, True
            tag, body = got
            if tag == b"E":
                fields = {field[:1]: field[1:].decode("utf-8", "replace") for field in body.split(b"\0") if field}
                errors.append((fields.get(b"C", ""), fields.get(b"M", "")))
                fatal |= fields.get(b"V") in ("FATAL", "PANIC")
                if fields.get(b"C") == "XX000":
                    raise Finding("XX000 " + fields.get(b"M", ""))
            elif tag == b"G":
                self.send(copy or message(b"f", text("no data")))
            if tag == wanted:
                return errors, False

    def query(self, sql, copy=b""):
        self.send(message(b"Q", text(sql)))
        return self.until(b"Z", copy)

    def close(self):
        self.socket.close()


def noise(rng, size):
    return rng.randbytes(rng.randrange(size))


def expression(rng, depth=0):
    kind = rng.random()
    if depth > 3 or kind < 0.3:
        value = rng.choice(VALUES)
        return f"({value})::{rng.choice(TYPES)}" if rng.random() < 0.4 else value
    if kind < 0.55:
        return f"({expression(rng, depth + 1)} {rng.choice(OPERATORS)} {expression(rng, depth + 1)})"
    if kind < 0.85:
        arguments = ", ".join(expression(rng, depth + 1) for _ in range(rng.randrange(4)))
        return f"{rng.choice(FUNCTIONS)}({arguments})"
    if kind < 0.9:
        return f"(case when {expression(rng, depth + 1)} then {expression(rng, depth + 1)} end)"
    if kind < 0.95:
        return f"(select {expression(rng, depth + 1)})"
    return f"cast({expression(rng, depth + 1)} as {rng.choice(TYPES)})"


def soup(rng):
    """Statements of words, operators and constants in any order."""
    choices = [WORDS, SYMBOLS, VALUES, TYPES]
    return " ".join(rng.choice(rng.choice(choices)) for _ in range(rng.randrange(1, 40)))


def statement(rng):
    if rng.random() < 0.4:
        return soup(rng)
    query = f"select {expression(rng)}"
    if rng.random() < 0.4:
        query += f" from (values (1, 'a', 1.5), (null, null, null)) t(a, b, c) where {expression(rng)}"
    if rng.random() < 0.2:
        query += f" order by {expression(rng)} limit {rng.choice(VALUES)}"
    if rng.random() < 0.1:
        at = rng.randrange(len(query))
        query = query[:at] + rng.choice(SYMBOLS) + query[at + 1:]
    return query


def sql_round(rng, port):
    client = Client(port)
    for _ in range(30):
        query = statement(rng)
        try:
            _, ended = client.query(query)
        except Finding as finding:
            raise Finding(f"{finding}: {query}")
        if ended:
            client = Client(port)
    client.close()


def bind_round(rng, port):
    """Parameters of every type in both formats: random bytes, and valid ones with a byte changed."""
    client = Client(port)
    seeds = [b"", b"\0" * 4, b"\xff" * 8, struct.pack(">IIIII", 1, 0, 23, 2, 1) + struct.pack(">iIii", 4, 1, -1, 0),
             struct.pack(">III", 0, 0, 23), struct.pack(">hhHh", 2, 0, 0, 3) + struct.pack(">hh", 12, 3400), b"\1{}", b"1", b"NaN",
             struct.pack(">IIIIIII", 2, 0, 23, 2**31 - 1, 1, 2**31 - 1, 1), struct.pack(">q", -2**63), struct.pack(">d", float("nan"))]
    for _ in range(40):
        name = rng.choice(TYPES)
        value = bytearray(rng.choice(seeds) if rng.random() < 0.5 else noise(rng, 40))
        if value and rng.random() < 0.5:
            value[rng.randrange(len(value))] = rng.randrange(256)
        formats = [rng.randrange(2)] * rng.choice([0, 1, 1, 1, 2])
        result = rng.randrange(2)
        bind = b"\0\0" + struct.pack(">H", len(formats)) + b"".join(struct.pack(">H", code) for code in formats)
        bind += struct.pack(">Hi", 1, len(value)) + bytes(value) + struct.pack(">HH", 1, result)
        use = rng.choice(["$1::%s", "pg_typeof($1::%s)", "array[$1::%s]", "$1::%s = $1::%s", "count($1::%s)", "$1::%s::text"])
        query = "select " + use.replace("%s", name)
        client.send(message(b"P", b"\0" + text(query) + b"\0\0") + message(b"B", bind) + message(b"D", b"P\0")
                    + message(b"E", b"\0" + struct.pack(">i", rng.choice([0, 1, -1, 2**31 - 1]))) + message(b"S"))
        try:
            _, ended = client.until(b"Z")
        except Finding as finding:
            raise Finding(f"{finding}: {query} format {formats} value {bytes(value).hex()}")
        if ended:
            client = Client(port)
    client.close()


def copy_round(rng, port):
    """COPY data in three formats, whole rows and noise, cut anywhere into messages."""
    client = Client(port)
    client.query("create table if not exists fuzz_copy (a int4, b text, c numeric(10,2), d timestamptz, e int4[], f jsonb)")
    for _ in range(6):
        kind = rng.choice(["text", "csv", "binary"])
        data = bytearray()
        if kind == "binary":
            data += b"PGCOPY\n\xff\r\n\0" + bytes(8)
            for _ in range(rng.randrange(20)):
                fields = [struct.pack(">i", 7), b"text", struct.pack(">hhHhh", 1, 0, 0, 0, 5), bytes(8), struct.pack(">III", 0, 0, 23), b"\1{}"]
                data += struct.pack(">h", 6) + b"".join(struct.pack(">i", len(field)) + field for field in fields)
            data += b"\xff\xff"
        else:
            separator = "\t" if kind == "text" else ","
            row = separator.join(["7", rng.choice(["x", '"q""z"', "\\n", "\\N", ""]), "1.25", "2024-01-01", "{}", "{}"])
            data += (row + rng.choice(["\n", "\r\n", "\n\n"])).encode() * rng.randrange(20)
        for _ in range(rng.choice([0, 0, 1, 5])):
            if data:
                at = rng.randrange(len(data))
                data[at:at + rng.randrange(3)] = noise(rng, 6)
        pieces, rest = [], bytes(data)
        while rest:
            cut = rng.choice([1, 2, 3, 7, 100, 100_000])
            pieces.append(message(b"d", rest[:cut]))
            rest = rest[cut:]
        end = rng.choice([message(b"c"), message(b"c"), message(b"f", text("enough")), message(b"S") + message(b"c")])
        options = rng.choice(["", ", on_error ignore" if kind != "binary" else "", ", header true" if kind != "binary" else "",
                              ", null 'x'" if kind != "binary" else ""])
        query = f"copy fuzz_copy from stdin (format {kind}{options})"
        try:
            _, ended = client.query(query, b"".join(pieces) + end)
        except Finding as finding:
            raise Finding(f"{finding}: {query} data {bytes(data)!r}")
        if ended:
            client = Client(port)
    client.query(f"copy fuzz_copy to stdout (format {rng.choice(['text', 'csv', 'binary'])})")
    client.query("truncate fuzz_copy")
    client.close()


def frames_round(rng, port):
    """Messages of any type with any body, wrong lengths, and ends in the middle."""
    client = Client(port)
    for _ in range(30):
        tag = bytes([rng.choice(b"QPBEDSHCXFpdcf" + bytes([rng.randrange(256)]))])
        body = rng.choice([noise(rng, 60), text(soup(rng)), b"\0\0\0\0\0\0", b"\0select 1\0\0\0", b"\0\0\0\0\0\0\0\0", b"S\0", b"P\0"])
        data = message(tag, body)
        if rng.random() < 0.1:
            data = tag + struct.pack(">I", rng.choice([0, 1, 3, 4, 5, 100, 2**31 - 1, 2**31, 2**32 - 1])) + body
        client.send(data)
        if tag == b"X":
            break
    client.send(message(b"c") + message(b"S"))
    if rng.random() < 0.5:
        client.socket.shutdown(socket.SHUT_WR)
        while client.read() is not None:
            pass
    client.close()


def startup_round(rng, port):
    for _ in range(20):
        connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
        version = rng.choice([196608, 80877103, 80877102, 80877104, 0, 131072, 196610, rng.getrandbits(32)])
        body = struct.pack(">I", version) + rng.choice([noise(rng, 200), b"user\0x\0\0", b"user\0lakegate\0options\0-c a=b -c\0\0", b"", b"\0"])
        length = rng.choice([len(body) + 4, len(body) + 4, rng.choice([0, 3, 4, 7, 8, 10_001, 2**31, 2**32 - 1])])
        try:
            connection.sendall(struct.pack(">I", length) + body + noise(rng, 20))
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass
        except (ConnectionResetError, BrokenPipeError, OSError) as error:
            if isinstance(error, socket.timeout):
                raise Finding(f"no answer to a startup packet {length} {body!r}")
        connection.close()


ROUNDS = {"sql": sql_round, "bind": bind_round, "copy": copy_round, "frames": frames_round, "startup": startup_round}


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmRSS"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=5432)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=1 << 62)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--only", default=",".join(ROUNDS))
    parser.add_argument("--threads", type=int, default=3)
    parser.add_argument("--pid", type=int, help="the server's process, for its memory")
    options = parser.parse_args()
    kinds = options.only.split(",")
    end, lock = time.time() + options.seconds, threading.Lock()
    state = {"next": options.seed, "rounds": 0}
    findings = collections.Counter()

    def work():
        while time.time() < end:
            with lock:
                seed = state["next"]
                state["next"] += 1
                state["rounds"] += 1
                if state["rounds"] > options.rounds:
                    return
            kind = kinds[seed % len(kinds)]
            try:
                ROUNDS[kind](random.Random(seed), options.port)
            except Finding as finding:
                key = "".join(letter for letter in str(finding).split(": ")[0][:60] if not letter.isdigit())
                with lock:
                    findings[key] += 1
                    if findings[key] <= 3:
                        print(f"{kind} seed {seed}: {str(finding)[:900]}", flush=True)
            except OSError as error:
                with lock:
                    findings[f"unreachable: {error}"] += 1
                time.sleep(0.5)

    before = resident_mib(options.pid) if options.pid else 0
    threads = [threading.Thread(target=work) for _ in range(options.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if options.pid:
        print(f"resident memory: {before} MiB before, {resident_mib(options.pid)} MiB after")
    print(f"{min(state['rounds'], options.rounds)} rounds from seed {options.seed}, {sum(findings.values())} findings")
    for what, count in findings.most_common(40):
        print(f"{count:6} {what}")
    sys.exit(1 if findings else 0)


main()
