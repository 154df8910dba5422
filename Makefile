# All tasks of this project. Each target installs what it needs. You only need CPython 3.11 to 3.14 and pip.
#
#   PYTHON=python3.12   the interpreter for .venv; by default, the first suitable one
#   ARGS="..."          more arguments for the command that the target runs
#   WORKERS=2           the number of processes for the tests or the fuzzing

PYTHON  ?=
VENV    ?= .venv
WORKERS ?=
ARGS    ?=

# Print "3.13.0 /path/to/python" for the first of these commands that is a supported CPython. If the command belongs to a
# virtual environment, print its base interpreter, because make may replace that environment.
ASK  := import sys; v = sys.version_info; sys.exit(1) if sys.implementation.name != "cpython" or not (3, 11) <= v[:2] <= (3, 14) else print("%d.%d.%d" % v[:3], sys._base_executable)
FIND  = $(shell for name in $(1); do "$$name" -c '$(ASK)' 2>/dev/null && break; done)

CHOSEN      := $(call FIND,$(or $(PYTHON),python3.13 python3.12 python3.11 python3.14 python3 python))
VERSION     := $(firstword $(CHOSEN))
INTERPRETER := $(word 2,$(CHOSEN))
BIN         := $(VENV)/bin

# A virtual environment is ready if its stamp file exists. The file's name contains the Python version and a checksum of
# the lock files and pyproject.toml. If one of these changes, the environment is updated.
READY = $(VENV)/ready/$(1)@$(VERSION)@$(shell cat locks/build.txt locks/$(1).txt pyproject.toml | cksum | cut -d ' ' -f 1)
DEMO := $(call READY,demo)
DEV  := $(call READY,dev)
TEST := $(call READY,test)
LOCK := $(call READY,lock)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONDONTWRITEBYTECODE  # otherwise every process of the tests would compile all modules again
MAKEFLAGS += --no-print-directory
ifneq ($(filter test test-all package,$(MAKECMDGOALS)),)
MAKEFLAGS += -j4  # these targets create several independent environments
endif
.DEFAULT_GOAL := help
.PHONY: help demo environment functions ready test test-all others quick format check secrets bench soak fuzz orders mutants docs pictures kafka local template package deploy sbom audit lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

environment: $(DEV) ## install the environment for the tests and the checks

demo: $(DEMO) ## run everything locally: signed callbacks in, Kafka messages out
	@trap : INT; $(BIN)/payctl demo $(ARGS) || [ $$? -eq 130 ]  # a user ends the demo with Ctrl-C

# The other supported interpreters, from PATH or from pyenv's directory.
MINORS := 3.11 3.12 3.13 3.14
OTHERS = $(foreach minor,$(filter-out $(basename $(VERSION)),$(MINORS)),$(lastword $(call FIND,python$(minor) $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/$(minor).*/bin/python))))

# The environments for testing the functions: one with AWS's runtime and its emulator on the runtime's Python version,
# and one that simulates AWS's services.
FUNCTIONS := .venv-lambda/ready/functions@$(shell cat locks/build.txt locks/runtime.txt locks/emulator.txt locks/moto.txt pyproject.toml | cksum | cut -d ' ' -f 1)
LAMBDA    := $(lastword $(call FIND,python3.13 $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/3.13.*/bin/python)))

functions: $(FUNCTIONS) ## install the local AWS runtime and services for testing the Lambda functions

$(FUNCTIONS):
	@$(MAKE) VENV=.venv-lambda PYTHON="$(or $(LAMBDA),$(INTERPRETER))" runtime
	@.venv-lambda/bin/python -m pip install --quiet --no-deps --require-hashes -r locks/emulator.txt
	@$(MAKE) VENV=.venv-moto moto
	@touch $@

runtime: $(call READY,runtime)
moto: $(call READY,moto)

# The tools that generate and check the template. They have a separate environment, because checkov's pinned versions
# conflict with ours. The template is checked again if one of its sources has changed.
TOOLS   := .venv-aws/ready/tools@$(VERSION)@$(shell cksum < deploy/tools.txt | cut -d ' ' -f 1)
CHECKED := .venv-aws/ready/checked@$(shell cat deploy/*.* deploy/alarms/*.py deploy/kubernetes/* ticketbottle_payctl/metrics.py | cksum | cut -d ' ' -f 1)

# The tool that lists a release's packages, and the tool that finds their known vulnerabilities. They have separate
# environments, because checkov needs an old version of a library that they also need.
SBOM  := .venv-sbom/ready/tool@$(VERSION)@$(shell cat locks/build.txt locks/sbom.txt pyproject.toml | cksum | cut -d ' ' -f 1)
AUDIT := .venv-audit/ready/tool@$(VERSION)@$(shell cat locks/build.txt locks/audit.txt pyproject.toml | cksum | cut -d ' ' -f 1)

$(SBOM):
	@$(MAKE) VENV=.venv-sbom PYTHON="$(INTERPRETER)" sbom-packages
	@touch $@

$(AUDIT):
	@$(MAKE) VENV=.venv-audit PYTHON="$(INTERPRETER)" audit-packages
	@touch $@

# The tools that create mutants and measure which tests run which lines, and the packages that the tests need.
MUTANTS := .venv-mutants/ready/tool@$(VERSION)@$(shell cat locks/build.txt locks/mutants.txt pyproject.toml | cksum | cut -d ' ' -f 1)

$(MUTANTS):
	@$(MAKE) VENV=.venv-mutants PYTHON="$(INTERPRETER)" mutants-packages
	@touch $@

mutants-packages: $(call READY,mutants)
sbom-packages: $(call READY,sbom)
audit-packages: $(call READY,audit)

# Atheris, which `make fuzz` needs, has no wheel for CPython 3.14.
FUZZ   := .venv-fuzz/ready/tool@$(shell cat locks/build.txt locks/fuzz.txt pyproject.toml | cksum | cut -d ' ' -f 1)
FUZZER := $(lastword $(call FIND,python3.11 python3.12 python3.13 $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/3.1[123].*/bin/python)))

$(FUZZ):
	@test -n "$(FUZZER)" || { echo "no CPython 3.11 to 3.13 found: atheris has no wheel for others" >&2; exit 3; }
	@$(MAKE) VENV=.venv-fuzz PYTHON="$(FUZZER)" fuzz-packages
	@touch $@

fuzz-packages: $(call READY,fuzz)

ready: $(DEV) $(FUNCTIONS) $(TOOLS) $(SBOM) ## install everything that make test needs

# The tests spend half of their time waiting, so six processes keep two cores busy. By default, they use the wheel's
# PostgreSQL. CI sets PAYCTL_TEST_POSTGRES=system, because the system's server has production's major version.
#
# By default, two cases of each test with PostgreSQL run, and no slow proofs. SAMPLE= runs every test with all cases.
SAMPLE ?= --sample
test: ready ## run every kind of test on one Python, in six to fifteen minutes
	@$(BIN)/python -m pytest -n $(or $(WORKERS),6) $(SAMPLE) $(ARGS)

test-all: others ## run the quick tests on every other installed Python, then every test with all cases
	@$(MAKE) test SAMPLE=

# A difference between Python versions affects all cases of a test, so two cases of each test are enough.
others: ready ## run two cases of each quick test on every other installed Python
	@passed=; for python in $(OTHERS); do \
	  minor=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') && \
	  $(MAKE) quick PYTHON="$$python" VENV=".venv-$$minor" ARGS="--cases 2" || exit 1; \
	  passed="$$passed $$minor"; \
	done; \
	echo "== the quick tests passed beside CPython $(VERSION) on:$${passed:- no other} (of $(MINORS))"

# These tests do not wait for anything, so one process for each core is enough.
quick: $(TEST) ## run the tests that need no service
	@echo "== quick tests on CPython $(VERSION)"
	@$(BIN)/python -m pytest -q -n $(or $(WORKERS),auto) -m "not postgres and not kafka and not container" --ignore tests/test_house.py --ignore tests/test_division.py --ignore tests/sandbox --ignore tests/servers --ignore tests/deploy --ignore tests/docs $(ARGS)

format: $(DEV) ## format the Python code, and correct what ruff can correct
	@$(BIN)/ruff check --fix --quiet . >/dev/null || true  # the formatter may correct what is left
	@$(BIN)/ruff format .
	@$(BIN)/ruff check .

check: $(DEV) $(CHECKED) ## check lint, format, types, layers, Dockerfile, secrets, dependencies, the template, the site
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/hadolint Dockerfile
	@$(SCAN)
	@$(BIN)/python -m pip check
	@$(BIN)/python docs/build_site.py

# The files that git does not ignore or, in a copy without git, the files that are not hidden.
FILES := { git ls-files --cached --others --exclude-standard 2>/dev/null || find . -type f -not -path '*/.*' -not -name '*.egg-info' | cut -c 3-; }

# If only line numbers have changed, the hook exits with 3 and rewrites its list, so it gets a copy of the list.
SCAN = cp .secrets.baseline $(VENV)/ready/secrets && echo "secrets" && \
  $(BIN)/detect-secrets-hook --baseline $(VENV)/ready/secrets $$($(FILES) | grep -v '^\.secrets\.baseline$$') >&2 || [ $$? -eq 3 ]

secrets: $(DEV) ## accept everything that the secrets scan finds now; then read the diff of .secrets.baseline
	@echo "== scanning every file (this takes a few minutes)"
	@$(BIN)/detect-secrets scan $$($(FILES) | grep -v '^\.secrets\.baseline$$') > $(VENV)/ready/secrets
	@$(BIN)/python -c 'import json, sys; found = json.load(sys.stdin); del found["generated_at"]; json.dump(found, sys.stdout, indent=1); print()' < $(VENV)/ready/secrets > .secrets.baseline

bench: $(DEV) ## run the benchmarks
	@$(BIN)/python -m benchmarks $(ARGS)

soak: $(DEV) ## run everything at once with random faults (ARGS="--minutes 60 --faults 1000"; needs Java and Maven)
	@$(BIN)/python -m tests.soak $(ARGS)

fuzz: $(FUZZ) ## try hostile inputs, guided by coverage (ARGS="--inputs 10000000" WORKERS=2, --target NAME, --seed N)
	@.venv-fuzz/bin/python -m tests.fuzz --workers $(or $(WORKERS),4) $(ARGS)

orders: $(DEV) ## run publishers, writers and an operator with their steps in N=1000 different orders, and kill some
	@PAYCTL_TEST_INTERLEAVINGS=$(or $(N),1000) $(BIN)/python -m pytest -q -n 0 --timeout 7200 tests/interleavings

mutants: $(MUTANTS) ## change the code in one place at a time, and check that a test fails (ARGS="--room domain --sample 100")
	@.venv-mutants/bin/python -m tests.mutants $(ARGS)

docs: pictures ## generate pages, schemas and pictures from the code and from real runs, and the site in build/site
	@$(BIN)/python docs/generate.py
	@$(BIN)/python docs/schemas.py
	@$(BIN)/python docs/build_site.py
	@echo "to read and search it: $(BIN)/python -m http.server --bind 127.0.0.1 --directory build/site 8000"

pictures: $(DEV) ## run the commands in the README and the tutorials, and update the excerpts and pictures
	@$(BIN)/python docs/pictures.py $(ARGS)

kafka: $(DEMO) ## run one Apache Kafka node until Ctrl-C (needs Java and Maven)
	@$(BIN)/python -m tests.servers.apache_kafka $(ARGS)

local: $(DEMO) $(FUNCTIONS) ## run the webhook's function locally in AWS's runtime (ARGS="--event FILE" invokes it once)
	@$(BIN)/python -m tests.servers.local_functions $(ARGS)

template: $(TOOLS) ## generate the template's alarms and dashboard, cloudformation.json and the deployer's policy
	@echo "== writing deploy/template.yaml, cloudformation.json and deployer-policy.json"
	@.venv-aws/bin/python -m deploy.generate
	@.venv-aws/bin/python -m deploy.deployer

package: $(TOOLS) $(SBOM) ## build the zips for Lambda in build/package (ARCH=x86_64, CA=bundle.pem, SPANS=1)
	@test -n "$(LAMBDA)" || { echo "no CPython 3.13 found: the functions run on it, and so does their bytecode" >&2; exit 3; }
	@.venv-aws/bin/python -m deploy.package --interpreter "$(LAMBDA)" \
	  $(if $(ARCH),--arch $(ARCH)) $(if $(CA),--ca "$(CA)") $(if $(SPANS),--lock locks/otel.txt) $(ARGS)
	@.venv-sbom/bin/python -m deploy.sbom --folder build/package/layer/python --target build/package

# Both tools read the stack's parameters from deploy/samconfig.toml. The options of the build have no effect here.
ifneq ($(filter deploy,$(MAKECMDGOALS)),)
ifeq ($(filter package,$(MAKECMDGOALS)),)
$(foreach name,ARCH CA SPANS,$(if $(findstring command line,$(origin $(name))),$(error make deploy builds nothing, so give $(name)= to make package)))
endif
endif
deploy: $(TOOLS) ## deploy build/package (ENV=dev ARGS=--print; BUCKET=... uses the AWS CLI, RELEASE=... an earlier release)
	@test -n "$(ENV)" || { echo "say which environment to deploy: make deploy ENV=dev" >&2; exit 2; }
	@.venv-aws/bin/python -m deploy.release "$(ENV)" $(if $(BUCKET),--bucket "$(BUCKET)") \
	  $(if $(RELEASE),--release "$(RELEASE)") $(ARGS)

sbom: $(SBOM) $(DEMO) ## list the packages of the command line and the demo, with their licences, in build/sbom
	@.venv-sbom/bin/python -m deploy.sbom --interpreter $(BIN)/python --target build/sbom

# This target needs access to the advisory database, so CI does not run it. ARGS="-s osv" uses the OSV database.
audit: $(AUDIT) ## find known vulnerabilities in the locked packages (needs the internet)
	@failed=; for lock in locks/*.txt deploy/tools.txt; do echo "== $$lock"; \
	  .venv-audit/bin/pip-audit --disable-pip --require-hashes --progress-spinner off $(ARGS) -r $$lock || failed=1; \
	done; test -z "$$failed"

$(TOOLS):
	@test -n "$(INTERPRETER)" || { echo "no CPython 3.11 to 3.14 found; name one: make PYTHON=/path/to/python" >&2; exit 3; }
	@echo "== installing the template's tools into .venv-aws (this can take a few minutes)"
	@rm -rf .venv-aws
	@"$(INTERPRETER)" -m venv .venv-aws >/dev/null 2>&1 || "$(INTERPRETER)" -m venv --clear --without-pip .venv-aws
	@"$(INTERPRETER)" -m pip --python .venv-aws/bin/python install --quiet --no-compile --require-hashes -r deploy/tools.txt
	@mkdir -p $(@D) && touch $@

$(CHECKED): $(TOOLS)
	@echo "== checking the template"
	@.venv-aws/bin/python -m deploy.generate --check
	@.venv-aws/bin/python -m deploy.deployer --check
	@.venv-aws/bin/cfn-lint -r ap-southeast-1 -- deploy/template.yaml deploy/cloudformation.json
	@.venv-aws/bin/checkov -f deploy/cloudformation.json --framework cloudformation --skip-download --quiet --compact
	@.venv-aws/bin/kubernetes-validate --strict --quiet deploy/kubernetes/*.yaml
	@touch $@

# dev.txt locks all packages. The other locks contain parts of it, so a package has the same version in all of them. A
# locked version stays the same unless pyproject.toml excludes it or ARGS=--upgrade is given.
COMPILE = env -u PIP_FIND_LINKS -u UV_FIND_LINKS $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
  --generate-hashes --custom-compile-command "make lock" $(ARGS)
PART = $(COMPILE) --constraint locks/dev.txt

lock: $(LOCK) ## update the files in locks/ from pyproject.toml (ARGS=--upgrade for newer versions)
	@$(COMPILE) pyproject.toml --extra demo --extra msk --extra otel --extra report --group build --group dev --output-file locks/dev.txt
	@$(PART) pyproject.toml --extra cli --output-file locks/cli.txt
	@$(PART) pyproject.toml --extra demo --output-file locks/demo.txt
	@$(PART) pyproject.toml --extra lambda --output-file locks/lambda.txt
	@$(PART) pyproject.toml --extra msk --output-file locks/msk.txt
	@$(PART) pyproject.toml --extra otel --extra gateways --output-file locks/otel.txt
	@$(PART) pyproject.toml --extra cli --extra report --output-file locks/report.txt
	@$(PART) pyproject.toml --extra cli --extra msk --extra otel --extra report --group test --output-file locks/test.txt
	@$(PART) pyproject.toml --extra lambda --extra aws --extra otel --extra gateways --output-file locks/runtime.txt
	@$(PART) --group moto --output-file locks/moto.txt
	@$(COMPILE) --group emulator --no-deps --output-file locks/emulator.txt
	@$(PART) --group build --output-file locks/build.txt
	@$(PART) --group sbom --output-file locks/sbom.txt
	@$(PART) --group audit --output-file locks/audit.txt
	@$(PART) pyproject.toml --extra demo --extra msk --extra otel --extra report --group test --group mutants --output-file locks/mutants.txt
	@$(PART) --group docs --output-file locks/docs.txt
	@$(PART) pyproject.toml --extra cli --group fuzz --output-file locks/fuzz.txt
	@$(PART) pyproject.toml --extra gateways --output-file locks/layer.txt
	@$(COMPILE) --group lock --output-file locks/lock.txt
	@$(COMPILE) deploy/tools.in --output-file deploy/tools.txt

clean: ## remove the virtual environments, caches and build output
	@rm -rf .venv .venv-3.* .venv-lambda .venv-moto .venv-aws .venv-sbom .venv-audit .venv-fuzz .venv-mutants dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .kafka
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Most modules in these environments are never loaded, so pip does not compile them. Python compiles the loaded ones.
FEW_LOADED := dev test moto sbom audit

# Debian's interpreter has no ensurepip. In that case, the environment is created without pip, and the interpreter's own
# pip installs the packages.
$(VENV)/ready/%:
	@test -n "$(INTERPRETER)" || { echo "no CPython 3.11 to 3.14 found; name one: make PYTHON=/path/to/python" >&2; exit 3; }
	@test -e $(VENV)/ready/python@$(VERSION) || { \
	  rm -rf $(VENV) && \
	  { "$(INTERPRETER)" -m venv $(VENV) >/dev/null 2>&1 || "$(INTERPRETER)" -m venv --clear --without-pip $(VENV); } && \
	  mkdir $(VENV)/ready && touch $(VENV)/ready/python@$(VERSION); }
	@echo "== installing $(firstword $(subst @, ,$*)) into $(VENV) (this can take a few minutes)"
	@"$(INTERPRETER)" -m pip --python $(BIN)/python install --quiet $(if $(filter $(FEW_LOADED),$(firstword $(subst @, ,$*))),--no-compile) --require-hashes -r locks/build.txt -r locks/$(firstword $(subst @, ,$*)).txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@
