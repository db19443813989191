package install_test

import (
	"testing"

	_ "github.com/backout/backout/integrations/argo/argotest"             // The case of "argo.rollout".
	_ "github.com/backout/backout/integrations/caddy/caddytest"           // The case of "route.caddy".
	_ "github.com/backout/backout/integrations/compensate/compensatetest" // The cases of "http.compensate".
	"github.com/backout/backout/integrations/drivertest"
	_ "github.com/backout/backout/integrations/etcd/etcdtest"       // The case of "etcd.key".
	_ "github.com/backout/backout/integrations/exec/exectest"       // The case of "exec".
	_ "github.com/backout/backout/integrations/flagger/flaggertest" // The case of "flagger.canary".
	_ "github.com/backout/backout/integrations/github/githubtest"   // The cases of "github.*".
	_ "github.com/backout/backout/integrations/gitops/gitopstest"   // The cases of "gitops.hold".
	_ "github.com/backout/backout/integrations/haproxy/haproxytest" // The case of "route.haproxy".
	_ "github.com/backout/backout/integrations/helm/helmtest"       // The case of "helm.release".
	_ "github.com/backout/backout/integrations/install"
	_ "github.com/backout/backout/integrations/kubernetes/kubernetestest"     // The cases of "kubernetes.*".
	_ "github.com/backout/backout/integrations/lambda/lambdatest"             // The case of "lambda.alias".
	_ "github.com/backout/backout/integrations/launchdarkly/launchdarklytest" // The case of "flag.launchdarkly".
	_ "github.com/backout/backout/integrations/nats/natstest"                 // The cases of "nats.*".
	_ "github.com/backout/backout/integrations/openfeature/openfeaturetest"   // The case of "flag.openfeature".
	_ "github.com/backout/backout/integrations/postgres/postgrestest"         // The cases of "postgres.*".
	_ "github.com/backout/backout/integrations/unleash/unleashtest"           // The case of "flag.unleash".
	_ "github.com/backout/backout/integrations/varnish/varnishtest"           // The case of "edge.varnish".
	_ "github.com/backout/backout/integrations/vault/vaulttest"               // The cases of "vault.*".
)

// TestLaws tries every law on every registered kind, on its real system. One kind
// alone is -run 'TestLaws/nats.kv/'.
func TestLaws(t *testing.T) {
	drivertest.RunRegistered(t)
}
