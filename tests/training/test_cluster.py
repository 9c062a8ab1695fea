"""What may be amiss with TF_CONFIG; test_distribution.py has workers that do meet."""

import json
import socket

import commands
import pytest

from electra_tf import errors
from electra_tf.training import cluster, distribution


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}',
        '{"cluster": {"worker": ["a"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:b"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": "a:1"}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": -1}}',
        '{"cluster": {"worker": ["a:1", "a:1"]}, "task": {"type": "worker", "index": 0}}',  # noqa: E501
        '{"cluster": {"worker": [1]}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_a_malformed_tf_config_is_shown_with_what_is_wanted(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(errors.UserError, match=r'TF_CONFIG=.*: want \{"cluster": '):
        distribution.strategy()


@pytest.mark.parametrize("role", ["ps", "master", "evaluator"])
@pytest.mark.parametrize("own", ["worker", "the role"])
def test_roles_of_other_strategies_are_refused_by_every_task(role, own, monkeypatch):
    task = {"type": role if own == "the role" else "worker", "index": 0}
    members = {"worker": ["a:1"], role: ["a:2"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": members, "task": task}))
    with pytest.raises(errors.UserError, match=f"no task of type '{role}' takes part"):
        distribution.strategy()


def test_a_port_that_is_taken_is_named(monkeypatch):
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv(
            "TF_CONFIG", commands.tf_config([*commands.free_ports(1), port], 1)
        )
        with pytest.raises(errors.UserError, match=f"localhost:{port}: .*a free port"):
            distribution.strategy()


@pytest.mark.parametrize("index", [0, 1])
def test_a_worker_that_does_not_come_is_named_in_time(index, monkeypatch):
    ports = commands.free_ports(2)
    monkeypatch.setenv("TF_CONFIG", commands.tf_config(ports, index))
    monkeypatch.setattr(cluster, "TIMEOUT_SECONDS", 0.5)
    missing = f"localhost:{ports[1 - index]}"
    with pytest.raises(
        errors.UserError, match=f"0.5 s no answer from {missing}; start"
    ):
        distribution.strategy()
