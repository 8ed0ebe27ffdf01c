"""The server as a deployment of Ray Serve, for those who run a Ray cluster already.

    pip install 't2igan[serve]' 'ray[serve]'
    T2IGAN_WORKDIR=runs/base serve run deploy.ray_serve:app

Each replica is a whole server with batches of its own, one a device; Ray's autoscaling takes the place of Kubernetes'.
Keys, hosts, rates and limits are those of `Settings`, since the app is the same. What `t2igan serve` does besides (slow
headers, the number of connections, the end) is left to Ray's proxy: it waits for what is under way.
"""

import os
from pathlib import Path

from ray import serve

REPLICAS = {"min_replicas": 1, "max_replicas": 4, "target_ongoing_requests": 32}
RESOURCES = {"num_cpus": 2}  # "num_gpus": 1 for a GPU; JAX takes a whole one


def build():
    """Returns the app, in the replica's process."""
    from t2igan.inference.serving.app import create_app
    from t2igan.inference.serving.keys import read_keys
    from t2igan.inference.serving.models import open_models
    from t2igan.inference.serving.settings import Settings
    from t2igan.training.distributed import parallel

    parallel.start()  # keeps compiled programs for the next replica of this machine
    keys = os.environ.get("T2IGAN_KEYS")
    settings = Settings(
        host="0.0.0.0" if keys else "127.0.0.1",
        keys=read_keys(Path(keys)) if keys else (),
        allowed_hosts=tuple(filter(None, os.environ.get("T2IGAN_ALLOWED_HOSTS", "").split(","))),
        # The same for all replicas: an address of a picture that one made is good at every other.
        **({"link_secret": os.environ["T2IGAN_LINK_SECRET"].encode()} if "T2IGAN_LINK_SECRET" in os.environ else {}),
    )
    return create_app(open_models([Path(os.environ["T2IGAN_WORKDIR"])]), settings)


@serve.deployment(autoscaling_config=REPLICAS, max_ongoing_requests=256, ray_actor_options=RESOURCES)
@serve.ingress(build)
class T2igan:
    """Replicas of the server."""


app = T2igan.bind()
