"""What lies in deploy/ agrees with the server: flags that it has, paths that it answers, times that fit together."""

import io
import re
import runpy
import shlex
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from served import run_folder

import t2igan
from t2igan.cli import sample, serve
from t2igan.cli.parse import parse
from t2igan.inference.serving.guard import OPEN_PATHS
from t2igan.inference.serving.server import KEEP_ALIVE_S, LONGEST_DRAIN_S
from t2igan.inference.shards import Shard

DEPLOY = Path(__file__).parents[1] / "deploy"


def manifests(name="kubernetes.yaml"):
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")))


def test_the_manifests_are_valid():
    validator = pytest.importorskip("kubernetes_validate")
    kinds = []
    for manifest in manifests():
        validator.validate(manifest, "1.31", strict=True)
        kinds.append(manifest["kind"])
    assert kinds == ["Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"]


def test_jobs_and_arrays_draw_every_shard():
    validator = pytest.importorskip("kubernetes_validate")
    (job,) = manifests("kubernetes_sample.yaml")
    validator.validate(job, "1.31", strict=True)
    spec = job["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert container["command"] == ["t2igan", "sample"] and spec["completionMode"] == "Indexed"
    filled = [argument.replace("$(JOB_COMPLETION_INDEX)", "99") for argument in container["args"]]
    shard = Shard.parse(parse(sample.VERB, filled).shard)
    assert shard == (99, 100) and spec["completions"] == shard.of
    script = (DEPLOY / "slurm_sample.sh").read_text(encoding="utf-8")
    last = int(re.search(r"--array=0-(\d+)", script)[1])
    line = script[script.index("t2igan sample") :].replace("\\\n", " ")
    line = line.replace("${SLURM_ARRAY_TASK_ID}", str(last)).replace("${SLURM_ARRAY_TASK_COUNT}", str(last + 1))
    assert Shard.parse(parse(sample.VERB, shlex.split(line)[2:]).shard) == (last, last + 1)


class FakeRay:
    """What deploy/ of Ray uses: a deployment is called at once, and a dataset is a list of rows."""

    def __init__(self):
        self.serve = types.ModuleType("ray.serve")
        self.serve.deployment = lambda **options: options["ray_actor_options"] and (lambda of: of)
        self.serve.ingress = lambda build: lambda of: type(of.__name__, (of,), {"build": build, "bind": lambda: build})
        self.module = types.ModuleType("ray")
        self.module.serve = self.serve


def test_ray_serve_gets_the_same_app(tmp_path, monkeypatch):
    """Ray is no dependency: a fake stands for it."""
    ray = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", ray.module)
    monkeypatch.setitem(sys.modules, "ray.serve", ray.serve)
    build = runpy.run_path(str(DEPLOY / "ray_serve.py"))["app"]
    monkeypatch.setenv("T2IGAN_WORKDIR", str(run_folder(tmp_path)))
    monkeypatch.setenv("T2IGAN_LINK_SECRET", "0123456789abcdef")
    app = build()
    assert list(app.state.service.catalogue) == ["tiny"]
    assert app.state.service.settings.link_secret == b"0123456789abcdef" and not app.state.service.settings.keys


def test_ray_data_draws_what_python_does(tmp_path):
    Draw = runpy.run_path(str(DEPLOY / "ray_data.py"))["Draw"]
    folder = run_folder(tmp_path)
    batch = {"text": np.array(["a red cap", "green hair"], object), "seed": np.array([3, 4])}
    drawn = Draw(str(folder))(batch)
    wanted = t2igan.load(folder).sample(["a red cap", "green hair"], seed=[3, 4])
    for data, image in zip(drawn["png"], wanted, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), image)
    assert drawn["text"] is batch["text"]


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
