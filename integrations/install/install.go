package install

import (
	_ "github.com/backout/backout/integrations/argo"         // The kind "argo.rollout", on systems of the type "kubernetes".
	_ "github.com/backout/backout/integrations/caddy"        // The system "caddy" and the kind "route.caddy".
	_ "github.com/backout/backout/integrations/compensate"   // The system "http" and the kind "http.compensate".
	_ "github.com/backout/backout/integrations/endpoint"     // The system "endpoint" and the collector "http.probe".
	_ "github.com/backout/backout/integrations/etcd"         // The system "etcd" and the kind "etcd.key".
	_ "github.com/backout/backout/integrations/exec"         // The system "exec" and the kind "exec".
	_ "github.com/backout/backout/integrations/flagger"      // The kind "flagger.canary", on systems of the type "kubernetes".
	_ "github.com/backout/backout/integrations/github"       // The system "github", its change sources and the kinds "github.*".
	_ "github.com/backout/backout/integrations/gitops"       // The kind "gitops.hold", on systems of the type "kubernetes".
	_ "github.com/backout/backout/integrations/haproxy"      // The system "haproxy" and the kind "route.haproxy".
	_ "github.com/backout/backout/integrations/helm"         // The kind "helm.release", on systems of the type "kubernetes".
	_ "github.com/backout/backout/integrations/kubernetes"   // The system "kubernetes" and the kinds "kubernetes.*".
	_ "github.com/backout/backout/integrations/lambda"       // The system "lambda" and the kind "lambda.alias".
	_ "github.com/backout/backout/integrations/launchdarkly" // The system "launchdarkly" and the kind "flag.launchdarkly".
	_ "github.com/backout/backout/integrations/nats"         // The system "nats" and the kinds "nats.*".
	_ "github.com/backout/backout/integrations/openfeature"  // The kind "flag.openfeature", on systems of the type "kubernetes".
	_ "github.com/backout/backout/integrations/pagerduty"    // The system "pagerduty" and the change source "pagerduty.changes".
	_ "github.com/backout/backout/integrations/postgres"     // The system "postgres" and the kinds "postgres.*".
	_ "github.com/backout/backout/integrations/prometheus"   // The system "prometheus", the probe and the collector "prometheus.range".
	_ "github.com/backout/backout/integrations/unleash"      // The system "unleash" and the kind "flag.unleash".
	_ "github.com/backout/backout/integrations/varnish"      // The system "varnish" and the kind "edge.varnish".
	_ "github.com/backout/backout/integrations/vault"        // The system "vault" and the kinds "vault.*".
)
