"""deploy/kubernetes against schemas, and what one file says of another.

Kubernetes' own schemas are those of the package kubernetes-validate, the Prometheus operator's those of the models that
the package cloudcoil-models-prometheus-operator makes of the operator's published definitions. For kustomization.yaml
there is no such package; its fields are listed here, as kustomize's reference names them.
"""
import copy
import unittest

import jsonschema
import kubernetes_validate
import yaml
from cloudcoil.models.prometheus_operator import v1 as prometheus_operator

from containers import ROOT

FOLDER = ROOT / "deploy/kubernetes"
VERSION = "1.37"  # preStop.sleep came with 1.30


def strict(schema):
    """Returns the schema with no room for fields that it does not name."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items()}
    if isinstance(closed.get("properties"), dict) and closed.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


def listed(**fields):
    return {"type": "array", "minItems": 1, "items": {"type": "object", "properties": fields, "required": [next(iter(fields))]}}


TEXT, FLAG = {"type": "string", "minLength": 1}, {"type": "boolean"}
TEXTS, PAIRS = {"type": "array", "items": TEXT}, {"type": "object", "additionalProperties": TEXT}
GENERATOR = {"name": TEXT, "namespace": TEXT, "behavior": {"enum": ["create", "replace", "merge"]}, "literals": TEXTS,
             "files": TEXTS, "envs": TEXTS,
             "options": {"type": "object", "properties": {"labels": PAIRS, "annotations": PAIRS, "immutable": FLAG,
                                                          "disableNameSuffixHash": FLAG}}}
KUSTOMIZATION = {
    "type": "object", "required": ["apiVersion", "kind", "resources"],
    "properties": {
        "apiVersion": {"const": "kustomize.config.k8s.io/v1beta1"}, "kind": {"const": "Kustomization"},
        "namespace": TEXT, "namePrefix": TEXT, "nameSuffix": TEXT, "resources": TEXTS, "components": TEXTS,
        "commonAnnotations": PAIRS,
        "labels": listed(pairs=PAIRS, includeSelectors=FLAG, includeTemplates=FLAG),
        "images": listed(name=TEXT, newName=TEXT, newTag=TEXT, digest=TEXT),
        "replicas": listed(name=TEXT, count={"type": "integer"}),
        "patches": listed(path=TEXT, patch=TEXT, target={"type": "object"}),
        "configMapGenerator": listed(**GENERATOR), "secretGenerator": listed(**GENERATOR, type=TEXT)}}
FOREIGN = {"ServiceMonitor": strict(prometheus_operator.ServiceMonitor.model_json_schema()),
           "Kustomization": strict(KUSTOMIZATION)}


class ManifestTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
        cls.objects = [part for name in cls.kustomization["resources"]
                       for part in yaml.safe_load_all((FOLDER / name).read_text())]

    def one(self, kind, name="espy"):
        found, = [part for part in self.objects if part["kind"] == kind and part["metadata"]["name"] == name]
        return found

    def test_every_manifest_is_listed_and_is_what_its_schema_wants(self):
        files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
        self.assertEqual(set(self.kustomization["resources"]), files)
        for part in self.objects:
            with self.subTest(part["kind"]):
                if part["kind"] in FOREIGN:
                    jsonschema.validate(part, FOREIGN[part["kind"]])
                else:
                    kubernetes_validate.validate(part, VERSION, strict=True)
        jsonschema.validate(self.kustomization, FOREIGN["Kustomization"])

    def test_the_schemas_find_a_mistake(self):
        broken = yaml.safe_load((FOLDER / "poddisruptionbudget.yaml").read_text())
        broken["spec"]["maxUnavailible"] = 1
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(broken, VERSION, strict=True)
        monitor = self.one("ServiceMonitor")
        for path, name, value in ((("spec", "endpoints", 0), "intervall", "15s"), (("spec", "endpoints", 0), "port", 5000),
                                  (("spec",), "selectors", {})):
            with self.subTest(name), self.assertRaises(jsonschema.ValidationError):
                broken = copy.deepcopy(monitor)
                inner = broken
                for step in path:
                    inner = inner[step]
                inner[name] = value
                jsonschema.validate(broken, FOREIGN["ServiceMonitor"])
        for name in ("resource", "image"):
            with self.subTest(name), self.assertRaises(jsonschema.ValidationError):
                jsonschema.validate(self.kustomization | {name: []}, FOREIGN["Kustomization"])

    def test_selectors_find_the_pods_and_names_meet(self):
        stateful = self.one("StatefulSet")["spec"]
        labels = stateful["template"]["metadata"]["labels"]
        for selector in (stateful["selector"]["matchLabels"], self.one("Service")["spec"]["selector"],
                         self.one("Service", "espy-pods")["spec"]["selector"],
                         self.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
                         self.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]):
            self.assertEqual(selector, labels)
        self.assertEqual(stateful["serviceName"], "espy-pods")
        container, = stateful["template"]["spec"]["containers"]
        ports = {port["name"] for port in container["ports"]}
        self.assertEqual({probe["httpGet"]["port"] for name, probe in container.items() if name.endswith("Probe")}, ports)
        claims = {claim["metadata"]["name"] for claim in stateful["volumeClaimTemplates"]}
        self.assertEqual({mount["name"] for mount in container["volumeMounts"]}, claims)
        self.assertEqual(container["envFrom"][0]["configMapRef"]["name"], self.kustomization["configMapGenerator"][0]["name"])
        self.assertEqual(self.one("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["kind"], "StatefulSet")
        monitor = self.one("ServiceMonitor")["spec"]["selector"]["matchLabels"]
        front = self.one("Service")["metadata"]["labels"] | self.kustomization["labels"][0]["pairs"]
        self.assertLessEqual(monitor.items(), front.items())
        self.assertEqual(self.one("ServiceMonitor")["spec"]["endpoints"][0]["port"], self.one("Service")["spec"]["ports"][0]["name"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
