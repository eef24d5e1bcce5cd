"""VGG6 on small images: one fast, reproducible training run, and what it needs."""

import os

# What packages would send of their own accord. Asking onnxruntime to stop comes too late: it notes
# an identity of this device when it is imported.
for _switch, _off in {
    "ORT_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "WANDB_ERROR_REPORTING": "false",
}.items():
    os.environ.setdefault(_switch, _off)
