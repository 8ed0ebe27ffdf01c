"""What lies in deploy/ agrees with the server: flags that it has, paths that it answers, times that fit together."""

import re
import shlex
from pathlib import Path

import pytest

from t2igan.cli import serve
from t2igan.cli.parse import parse
from t2igan.inference.serving.guard import OPEN_PATHS
from t2igan.inference.serving.server import KEEP_ALIVE_S, LONGEST_DRAIN_S

DEPLOY = Path(__file__).parents[1] / "deploy"


def manifests():
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")))


def test_the_manifests_are_valid():
    validator = pytest.importorskip("kubernetes_validate")
    kinds = []
    for manifest in manifests():
        validator.validate(manifest, "1.31", strict=True)
        kinds.append(manifest["kind"])
    assert kinds == ["Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"]


def test_the_container_is_started_as_the_server_wants_it():
    pod = manifests()[0]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    options = serve.resolve(parse(serve.VERB, container["args"]))
    assert options["drain_s"] + LONGEST_DRAIN_S < pod["terminationGracePeriodSeconds"]
    mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
    for path in (options["keys"], options["link_secret"]):
        assert any(str(path).startswith(mount) for mount in mounted), path
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert OPEN_PATHS.fullmatch(container[probe]["httpGet"]["path"])


def test_the_dockerfile_sets_what_there_is():
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    names = re.findall(rf"{serve.ENVIRONMENT}(\w+)=", text)
    assert set(names) == {"HOST", "KEYS", "DRAIN_S"} and {name.lower() for name in names} <= set(serve.OPTIONS)


def test_nginx_closes_first_and_its_command_line_is_right():
    text = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    assert int(re.search(r"keepalive_timeout (\d+)s", text)[1]) < KEEP_ALIVE_S
    line = re.search(r"# +t2igan serve (.*\n#.*)", text)[1].replace("#", "")
    options = serve.resolve(parse(serve.VERB, shlex.split(line)))
    assert options["public_url"].endswith("/gan") and options["trusted_proxies"] == ("127.0.0.1",)
