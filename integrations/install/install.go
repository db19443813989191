package install

import (
	_ "github.com/backout/backout/integrations/github"     // The system "github" and the change source "github.deployments".
	_ "github.com/backout/backout/integrations/kubernetes" // The system "kubernetes" and the kinds "kubernetes.*".
	_ "github.com/backout/backout/integrations/nats"       // The system "nats" and the kinds "nats.*".
	_ "github.com/backout/backout/integrations/pagerduty"  // The system "pagerduty" and the change source "pagerduty.changes".
	_ "github.com/backout/backout/integrations/prometheus" // The system "prometheus", the probe and the collector "prometheus.range".
)
