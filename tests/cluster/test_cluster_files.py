"""The cluster files fit their published schemas, ask for a token, and open no dashboard."""

from __future__ import annotations

import copy
import json
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import ray.autoscaler
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from support.paths import ROOT

from cli.main import build_parser
from cli.search import read_settings

RAY_UP = ["aws.yaml", "on_premise.yaml"]
KUBERNETES = "1.37"


def strict(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object", "additionalProperties": False, "properties": properties,
        "required": list(required),
    }  # fmt: skip


TEXT, WHOLE, TRUTH = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
POD = {"type": "object"}  # checked with Kubernetes' own schema
AUTH = strict({"mode": {"enum": ["disabled", "token"]}, "secretName": TEXT})
HEAD = strict(
    {"serviceType": TEXT, "rayStartParams": TEXTS, "enableIngress": TRUTH, "template": POD},
    "template",
)
WORKERS = strict(
    {
        "groupName": TEXT, "replicas": WHOLE, "minReplicas": WHOLE, "maxReplicas": WHOLE,
        "idleTimeoutSeconds": WHOLE, "rayStartParams": TEXTS, "template": POD,
    },
    "groupName", "minReplicas", "maxReplicas", "template",
)  # fmt: skip
# The part that is used of KubeRay's schema of a RayJob (ray.io/v1), which is 1.2 MB with all that a
# pod can have: names, types and required fields as in its `ray.io_rayjobs.yaml`.
RAY_JOB = strict(
    {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayJob"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": strict(
            {
                "entrypoint": TEXT, "backoffLimit": WHOLE, "activeDeadlineSeconds": WHOLE,
                "shutdownAfterJobFinishes": TRUTH, "ttlSecondsAfterFinished": WHOLE,
                "rayClusterSpec": strict(
                    {
                        "rayVersion": TEXT, "authOptions": AUTH, "enableInTreeAutoscaling": TRUTH,
                        "autoscalerOptions": strict({"idleTimeoutSeconds": WHOLE}),
                        "headGroupSpec": HEAD,
                        "workerGroupSpecs": {"type": "array", "items": WORKERS},
                    },
                    "headGroupSpec",
                ),
            }
        ),
    },
    "apiVersion", "kind", "metadata", "spec",
)  # fmt: skip


def ray_up(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "cluster" / name).read_text()))


@pytest.fixture(scope="module")
def documents() -> dict[str, dict[str, Any]]:
    """The Kubernetes objects of rayjob.yaml by their kind."""
    text = (ROOT / "cluster" / "rayjob.yaml").read_text()
    return {d["kind"]: d for d in yaml.safe_load_all(text)}


@pytest.mark.parametrize("name", RAY_UP)
def test_a_file_for_ray_up_fits_rays_schema_and_its_own_checks(name: str) -> None:
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    config = ray_up(name)
    jsonschema.validate(config, schema)
    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    kinds = prepared["available_node_types"].values()
    assert max(kind["max_workers"] for kind in kinds) == config["max_workers"]
    with pytest.raises(jsonschema.ValidationError, match="max_worker"):
        jsonschema.validate({**config, "max_worker": 4}, schema)
    for local in config["file_mounts"].values():
        assert local.startswith("~/.ray/") or (ROOT / local).is_file(), f"{local} is not there"


@pytest.mark.parametrize("name", RAY_UP)
def test_every_node_of_ray_up_asks_for_the_token_and_the_dashboard_stays_on_loopback(
    name: str,
) -> None:
    config = ray_up(name)
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    head, worker = config["head_start_ray_commands"], config["worker_start_ray_commands"]
    starts = [c for c in (*head, *worker) if "ray start" in c]
    assert len(starts) == 2
    for start in starts:
        assert "export RAY_AUTH_MODE=token;" in start
    assert "--dashboard-host 127.0.0.1" in starts[0] and "0.0.0.0" not in " ".join(starts)


def test_the_aws_workers_have_gpus_and_come_and_go() -> None:
    config = ray_up("aws.yaml")
    worker = config["available_node_types"]["worker"]
    assert worker["resources"]["GPU"] == 1
    assert 0 < worker["min_workers"] < worker["max_workers"]
    assert config["available_node_types"][config["head_node_type"]]["resources"] == {"CPU": 0}


def test_the_ray_job_fits_kuberays_fields_and_its_pods_kubernetes_schema(
    documents: dict[str, dict[str, Any]],
) -> None:
    job, claim = documents["RayJob"], documents["PersistentVolumeClaim"]
    jsonschema.validate(job, RAY_JOB)
    kubernetes_validate.validate(claim, KUBERNETES, strict=True)
    spec = job["spec"]["rayClusterSpec"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, **group["template"]}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)
        volumes = group["template"]["spec"]["volumes"]
        claims = {v["name"]: v["persistentVolumeClaim"]["claimName"] for v in volumes}
        (container,) = group["template"]["spec"]["containers"]
        mounts = {m["mountPath"]: claims[m["name"]] for m in container["volumeMounts"]}
        assert mounts == {"/shared": claim["metadata"]["name"]}
        assert container["image"] == "REGISTRY/tune-vgg6:1"
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"], "every node writes to it"
    broken = copy.deepcopy(job)
    broken["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["minReplica"] = 1
    with pytest.raises(jsonschema.ValidationError, match="minReplica"):
        jsonschema.validate(broken, RAY_JOB)


def test_the_ray_job_asks_for_a_token_gpus_and_no_way_in(
    documents: dict[str, dict[str, Any]],
) -> None:
    spec = documents["RayJob"]["spec"]["rayClusterSpec"]
    assert spec["authOptions"]["mode"] == "token"
    head, (workers,) = spec["headGroupSpec"], spec["workerGroupSpecs"]
    assert head["serviceType"] == "ClusterIP" and "enableIngress" not in head
    assert head["rayStartParams"]["num-cpus"] == "0"
    (container,) = workers["template"]["spec"]["containers"]
    for kind in ("requests", "limits"):
        assert container["resources"][kind]["nvidia.com/gpu"] == "1"
    assert spec["enableInTreeAutoscaling"] and workers["minReplicas"] < workers["maxReplicas"]


def test_the_ray_jobs_commands_are_ones_that_this_program_takes(
    documents: dict[str, dict[str, Any]],
) -> None:
    bash, flag, script = shlex.split(documents["RayJob"]["spec"]["entrypoint"])
    assert (bash, flag) == ("bash", "-c")
    commands = re.findall(r"python tune_vgg6\.py ([^;]+);", script)
    assert [c.split()[0] for c in commands] == ["resume", "search"]
    for command in commands:
        args = build_parser().parse_args(command.split())
        assert args.storage == "/shared/runs"
    settings = read_settings(args)
    spec = documents["RayJob"]["spec"]["rayClusterSpec"]
    most = spec["workerGroupSpecs"][0]["maxReplicas"] / settings.gpus_per_trial
    assert settings.max_concurrent == most, "so many make the cluster grow to its whole"


def test_the_image_and_the_files_have_the_ray_that_this_program_is_tested_with(
    documents: dict[str, dict[str, Any]],
) -> None:
    version = re.search(r"ray\[.*\]==(\S+)", (ROOT / "requirements.txt").read_text())[1]
    dockerfile = (ROOT / "cluster" / "Dockerfile").read_text()
    assert f"FROM rayproject/ray:{version}-" in dockerfile
    assert documents["RayJob"]["spec"]["rayClusterSpec"]["rayVersion"] == version
    for source in re.findall(r"^COPY (\S+)", dockerfile, re.M):
        assert (ROOT / source).exists(), f"{source} is not there"
