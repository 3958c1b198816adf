# agent_metrics: demo, test, install. PG_CONFIG picks the PostgreSQL server.
#
#   make demo      on a bare Debian or Ubuntu with Rust: everything, to four tiles an agent and a page (scripts/demo)
#   make test      formatting, lints, and every test, on a temporary cluster of its own (scripts/test)
#   make install   build the extension for PG_CONFIG's server and copy its three files there
#   make bench     the benchmarks: bench-aggregates, bench-refresh, bench-segments, bench-ingest, bench-dashboard; each
#                  ratio beside its bar; ROWS=10000000. And bench-collect: spans a second
#   make soak      the fuzzers and random workloads for MINUTES=60, then KILLS=500 at random moments
#   make test-majors    builds and runs the suite on PostgreSQL 16, 17 and 18, and pg_upgrade to each; MAJORS="16 17 18"
#   make test-clients   a real OpenTelemetry SDK, from PyPI, sends to agent-metrics collect
#   make test-machines  the demo on machines with nothing but Rust; SUITES="bookworm trixie forky"
#   make package   the three files, with the notices of what they contain, in a tar archive
#   make packages  Debian packages of the extension and the program, in target/packages
#   make test-packages  installs and runs them on a fresh machine that is booted, and in containers; SUITE=bookworm
#   make release   all that a release publishes, with checksums, in target/release-files
#   make advisories  known faults of the dependencies, from the network: before each release
#   make docs      writes docs/reference anew, from the comments in the database
#   make privileges  writes anew who may do what, and what is public: tests/golden/{privileges,public}.txt and SECURITY.md

PG_CONFIG ?= pg_config
CARGO ?= cargo
ROWS ?= 10000000
BUFFERS ?= 5GB
MINUTES ?= 60
KILLS ?= 500
MAJORS ?= 16 17 18
SUITES ?= bookworm trixie forky
export PG_CONFIG

# How cargo builds. scripts/demo alone sets another, and installs it where no other server looks.
PROFILE ?= release
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
MAJOR := $(shell $(PG_CONFIG) --version 2>/dev/null | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
# A folder of its own, so that building the program does not make cargo build the extension anew.
EXTENSION_TARGET := target/pg$(MAJOR)
BUILD := $(EXTENSION_TARGET)/$(if $(filter demo,$(PROFILE)),demo-)extension
FEATURES := --no-default-features --features pg$(MAJOR)

MANUAL := target/manual/pages

.PHONY: demo test test-clients test-majors test-machines test-packages packages release manual docs privileges soak \
	bench bench-aggregates bench-refresh bench-segments bench-ingest bench-dashboard bench-collect install package tools program extension \
	lint advisories clean

# What is missing is installed first; only then can PG_CONFIG be asked anything.
demo test:
	@scripts/$@

# After a change of a comment, a column or an argument.
docs: install
	AGENT_METRICS_WRITE=1 scripts/with-cluster $(CARGO) test --test suite reference::

# After a change of who may do what: the table that the tests hold it against, and the one in SECURITY.md.
privileges: install
	AGENT_METRICS_WRITE=1 scripts/with-cluster $(CARGO) test --test suite -- privileges:: public_names::

soak: tools
	@$(MAKE) --no-print-directory install
	scripts/soak $(MINUTES) $(KILLS)

# Root's, and hours of a machine's time: not part of test.
test-majors:
	scripts/test-majors $(MAJORS)

# Apart from test: it needs a registry of Python packages.
test-clients: tools
	@$(MAKE) --no-print-directory install
	$(CARGO) build --bin agent-metrics
	scripts/with-cluster scripts/test-clients

test-machines:
	scripts/test-machines $(SUITES)

bench: bench-aggregates bench-refresh bench-segments bench-ingest bench-dashboard bench-collect

# ROWS scales it; the bars are for ten million, in a warm cache.
bench-aggregates bench-refresh bench-segments bench-ingest bench-dashboard: bench-%: tools
	@$(MAKE) --no-print-directory install
	@scripts/install-tools tdigest
	scripts/with-cluster shared_buffers=$(BUFFERS) sh -c '"$$($(PG_CONFIG) --bindir)/psql" -X -v rows=$(ROWS) -f benches/$*.sql "$$AGENT_METRICS_TEST_URL"'

bench-collect: tools program
	@$(MAKE) --no-print-directory install
	scripts/with-cluster $(CARGO) bench --bench collect

tools:
	@scripts/install-tools

program:
	$(CARGO) build --profile $(PROFILE) --bin agent-metrics --target-dir target

# Man pages and completions, made of the program's command line.
manual:
	@rm -rf $(MANUAL)
	$(CARGO) run --quiet --locked --manifest-path packaging/manual/Cargo.toml --target-dir target/manual -- $(VERSION) $(MANUAL)

lint:
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	$(CARGO) fmt --check --manifest-path packaging/manual/Cargo.toml
	$(CARGO) clippy --all-targets -- -D warnings
	@# where the extension is built, so that what reads the server's headers has been built already
	PGRX_PG_CONFIG_PATH="$$(command -v $(PG_CONFIG))" $(CARGO) clippy --profile $(PROFILE) --lib $(FEATURES) \
		--target-dir $(EXTENSION_TARGET) -- -D warnings
	@if command -v shellcheck >/dev/null; then shellcheck $(filter-out %.txt,$(wildcard scripts/* packaging/test/*)) packaging/container/server-entrypoint benches/ingest_clients.sh .ci/run; fi
	@scripts/licences
	@scripts/notices target/THIRD_PARTY_NOTICES
	@scripts/pgspot

# Apart from lint: it needs the network, and cargo-deny takes minutes to build.
advisories:
	@scripts/advisories

# cargo decides what to build; a file that came out the same keeps its time, so that nothing after it is done again.
extension:
	@test -n "$(MAJOR)" || { echo "make: $(PG_CONFIG) is not there; run scripts/install-tools or set PG_CONFIG" >&2; exit 1; }
	PGRX_PG_CONFIG_PATH="$$(command -v $(PG_CONFIG))" $(CARGO) build --profile $(PROFILE) --lib $(FEATURES) --target-dir $(EXTENSION_TARGET)
	@mkdir -p $(BUILD)
	@cmp -s $(EXTENSION_TARGET)/$(PROFILE)/libagent_metrics.so $(BUILD)/agent_metrics.so || \
		cp $(EXTENSION_TARGET)/$(PROFILE)/libagent_metrics.so $(BUILD)/agent_metrics.so
	@awk '$$1 == "member" { print "sql/" $$2 }' sql/manifest | xargs cat >$(BUILD)/new.sql
	@cmp -s $(BUILD)/new.sql $(BUILD)/agent_metrics--$(VERSION).sql || cp $(BUILD)/new.sql $(BUILD)/agent_metrics--$(VERSION).sql
	@rm $(BUILD)/new.sql
	@for script in $(wildcard sql/upgrades/agent_metrics--*.sql); do \
		cat sql/setup/guard_begin.sql "$$script" >"$(BUILD)/$${script##*/}"; \
	done

install: extension
	@scripts/install-files $(BUILD)/agent_metrics.so "$(DESTDIR)$$($(PG_CONFIG) --pkglibdir)"
	@scripts/install-files agent_metrics.control $(BUILD)/agent_metrics--$(VERSION).sql \
		$(patsubst sql/upgrades/%,$(BUILD)/%,$(wildcard sql/upgrades/agent_metrics--*.sql)) \
		"$(DESTDIR)$$($(PG_CONFIG) --sharedir)/extension"

package: extension
	@rm -rf $(BUILD)/package
	@$(MAKE) --no-print-directory install DESTDIR=$(CURDIR)/$(BUILD)/package
	@mkdir -p "$(BUILD)/package$$($(PG_CONFIG) --docdir)/agent_metrics"
	@cp LICENSE "$(BUILD)/package$$($(PG_CONFIG) --docdir)/agent_metrics/"
	@scripts/notices "$(BUILD)/package$$($(PG_CONFIG) --docdir)/agent_metrics/THIRD_PARTY_NOTICES"
	tar -C $(BUILD)/package -czf target/agent_metrics-$(VERSION)-pg$(MAJOR).tar.gz .

packages: tools
	@scripts/deb

# Apart from test: it makes a machine and images, which takes minutes and gigabytes.
test-packages: packages
	@scripts/test-packages

release: tools
	@scripts/release

clean:
	$(CARGO) clean
