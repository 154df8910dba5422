"""Test the Kubernetes job in deploy/kubernetes that runs ``payctl reconcile payments``."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from tests.stand_ins import Gateways, serving
from ticketbottle_payctl.sandbox.payment_service import insert_payment

pytestmark = pytest.mark.postgres

MANIFEST = Path(__file__).parents[4] / "deploy" / "kubernetes" / "reconcile-payments.yaml"


@pytest.fixture(scope="module")
def job():
    """Return the specification of the job."""
    return yaml.safe_load(MANIFEST.read_text("utf-8"))["spec"]


@pytest.fixture
def run_job(job, process, engine, database_url, tmp_path):
    """Return a function that inserts paid payments without a callback and runs the job.

    The function takes the number of payments and further arguments, and returns the exit code, document and statuses.
    """
    (container,) = job["jobTemplate"]["spec"]["template"]["spec"]["containers"]

    def run(payments, *more):
        with serving(Gateways()) as gateways, engine.begin() as connection:
            for number in range(payments):
                gateways.states[f"order-{number}"] = "paid"
                insert_payment(connection, provider="MOMO", reference=f"order-{number}", age=timedelta(hours=1))
            connection.commit()
            environ = {"DATABASE_URL": database_url, "ENVIRONMENT": "prod", "HOME": str(tmp_path)}
            done = process(*container["args"], *more, cwd=tmp_path, **gateways.environment, **environ)
        with engine.connect() as connection:
            statuses = connection.exec_driver_sql("SELECT DISTINCT status::text FROM payments").scalars().all()
        return done.returncode, json.loads(done.stdout), list(statuses)

    return run


def test_the_job_settles_payments_without_a_person(run_job):
    """The scheduled job's command settles payments without a terminal or further settings."""
    code, document, statuses = run_job(3)
    assert (code, document["counts"]["settled"], statuses) == (0, 3, ["COMPLETED"])


def test_the_job_changes_nothing_over_its_cap(run_job, job):
    """If the plan has more payments than the scheduled job's limit, the job exits with 7 and changes nothing."""
    arguments = job["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--max-affected=200" in arguments
    code, document, statuses = run_job(3, "--max-affected", "2")
    assert (code, document["ok"], statuses) == (7, False, ["PENDING"])


def test_only_one_job_runs_at_a_time_and_none_is_repeated(job):
    """The scheduled job has no retries, and a run starts only after the previous one has finished."""
    assert job["concurrencyPolicy"] == "Forbid"
    assert job["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert job["jobTemplate"]["spec"]["activeDeadlineSeconds"] < 15 * 60
    assert job["schedule"] == "*/15 * * * *"
