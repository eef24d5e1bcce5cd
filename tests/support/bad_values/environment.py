"""Bad values in the environment: W&B's, Ray's, CUDA's and the desktop's variables."""

from __future__ import annotations

from support.bad_values.case import Case


def variable(name: str, value: str, *says: str, arguments: list[str] | None = None) -> Case:
    words = arguments or ["search", "--data", "digits"]
    return Case(f"{name}={value}", words, [name, value, *says], environment={name: value})


ENVIRONMENT = [
    variable("WANDB_MODE", "ofline", "did you mean 'offline'"),
    variable("WANDB_BASE_URL", "api.wandb.ai", "no URL such as https://"),
    variable("WANDB_BASE_URL", "http://[", "no URL"),
    variable("RAY_ADDRESS", "head node", "host[:port]"),
    variable("RAY_ADDRESS", "head:port", "host[:port]"),
    variable("RAY_ADDRESS", "head:70000", "1 to 65535"),
    variable("RAY_TMPDIR", "/no/such/folder", "not a folder that can be written"),
    variable("CUDA_VISIBLE_DEVICES", "0,one", "'one'", "0,1"),
    variable("CUDA_VISIBLE_DEVICES", "cuda:0", "0,1", arguments=["train", "--data", "digits"]),
    variable("CIFAR10_DIR", "/no/such/folder", "cifar-10-batches-py", arguments=["search"]),
    variable("CIFAR10_DIR", "{at}/file", "cifar-10-batches-py", arguments=["train"]),
    variable("CIFAR10_DIR", "{at}/runs", "train-*.parquet", arguments=["search", "--data", "auto"]),
    variable("XDG_CACHE_HOME", "{at}/file", "cannot be written",
             arguments=["train", "--data", "{at}/data"]),
    variable("BROWSER_PATH", "/no/chrome", "no program",
             arguments=["report", "runs/good", "--png", "{at}/pictures"]),
]  # fmt: skip
