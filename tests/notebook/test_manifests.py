"""The manifests of ``examples/notebook`` are what Kubernetes and JupyterHub read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[2] / "examples/notebook"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_kubernetes_takes_the_deployment() -> None:
    """Each document satisfies Kubernetes' schema, strictly; the container is an ordinary user's, and its
    root is closed.
    """
    documents = list(yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text()))
    assert [one["kind"] for one in documents] == ["PersistentVolumeClaim", "Deployment"]
    for one in documents:
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)
    pod = documents[1]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsGroup"] == 0
    assert container["securityContext"]["readOnlyRootFilesystem"]
    mounted = {one["name"] for one in container["volumeMounts"]}
    assert mounted == {one["name"] for one in pod["volumes"]}
    wrong: dict[str, Any] = {**documents[0], "spec": {**documents[0]["spec"], "accessMode": []}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


def test_images_of_the_manifests_stay_what_they_are() -> None:
    """Every image has a tag, and none is called latest; nothing is mounted over the home folder."""
    values = yaml.safe_load((FOLDER / "jupyterhub-values.yaml").read_text())["singleuser"]
    images = [f"{values['image']['name']}:{values['image']['tag']}"]
    images += [
        one["kubespawner_override"]["image"] for one in values["profileList"] if "kubespawner_override" in one
    ]
    assert len(images) == 3
    assert all(":" in image and not image.endswith(":latest") for image in images)
    assert [one for one in values["profileList"] if one.get("default")] == values["profileList"][:1]
    assert values["storage"]["homeMountPath"] == "/home/wingspan/work"
