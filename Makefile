# Two commands do everything: `make demo` and `make test`.
# The target folder lives outside the checkout, so that a fresh clone on the same machine builds warm.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/lakegate/target
CARGO ?= cargo
SHELL := bash

.PHONY: demo serve install test lint deny interop bench doc fmt clean-demo tools

## Builds the release binary and starts a server on ./lakegate-data with the flights pipeline loaded.
demo:
	$(CARGO) build --release --locked
	"$(CARGO_TARGET_DIR)/release/lakegate" demo $(ARGS)

## Builds the release binary and starts a server; ARGS are its flags, e.g. make serve ARGS='--warehouse /tmp/lake'.
serve:
	$(CARGO) build --release --locked
	"$(CARGO_TARGET_DIR)/release/lakegate" serve $(ARGS)

## Puts `lakegate` into cargo's folder of programs, ~/.cargo/bin.
install:
	$(CARGO) install --locked --path .

## Installs what the tests need and runs them all.
test: tools
	tests/run.sh

## Spark with Delta Lake on the server's tables, and the server on Spark's; installs Spark (500 MB).
interop:
	$(CARGO) build --locked
	tests/interop/run.sh

tools:
	tests/install.sh

## Formatting, clippy, and what the rules of the project forbid.
lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

fmt:
	$(CARGO) fmt

## Licences, advisories and banned libraries; needs `cargo install --locked cargo-deny`.
deny:
	$(CARGO) deny --locked check

## Ratios against peers in one run on this machine; see benches/README.md.
bench:
	$(CARGO) build --release --locked
	benches/run.sh

doc:
	$(CARGO) doc --locked --no-deps --document-private-items

clean-demo:
	rm -rf lakegate-data
