package embedded

import (
	"net"

	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"
)

const (
	// visibilityStore names the store of lists.
	visibilityStore = "visibility"

	// clusterName is what the file was initialised with; it can never change.
	clusterName = "active"

	// historyShards is what the file was initialised with; it can never
	// change. One shard matches the one connection to the file.
	historyShards = 1

	// failoverIncrement is required by the server and means nothing for a
	// server that never replicates.
	failoverIncrement = 10

	// pollRPS replaces the server's 20 polls a second for each shard and queue,
	// which cost up to 50 ms a hop on a server with one shard.
	// Source: common/dynamicconfig/constants.go, TransferProcessorMaxPollRPS.
	pollRPS = 200

	// partitions replaces the server's 4 task queue partitions, which forward
	// tasks to each other no more than 10 times a second.
	// Source: common/dynamicconfig/constants.go, defaultNumTaskQueuePartitions.
	partitions = 1
)

// serverConfig is the static configuration of the one-process server.
func serverConfig(f files, p ports) *config.Config {
	disabled := config.ArchivalNamespaceDefaults{
		History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
		Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
	}
	cfg := &config.Config{
		Global: config.Global{
			Membership: config.Membership{BroadcastAddress: loopback},
		},
		Persistence: config.Persistence{
			DefaultStore:     sqlite.PluginName,
			VisibilityStore:  visibilityStore,
			NumHistoryShards: historyShards,
			DataStores: map[string]config.DataStore{
				sqlite.PluginName: {SQL: f.executions.config},
				visibilityStore:   {SQL: f.visibility.config},
			},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: failoverIncrement,
			MasterClusterName:        clusterName,
			CurrentClusterName:       clusterName,
			ClusterInformation: map[string]cluster.ClusterInformation{
				clusterName: {
					Enabled:                true,
					InitialFailoverVersion: 1,
					RPCAddress:             p.address(p.frontend),
					HTTPAddress:            p.address(p.http),
				},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Archival: config.Archival{
			History:    config.HistoryArchival{State: "disabled"},
			Visibility: config.VisibilityArchival{State: "disabled"},
		},
		NamespaceDefaults: config.NamespaceDefaults{Archival: disabled},
		PublicClient:      config.PublicClient{HostPort: p.address(p.frontend)},
		Services:          map[string]config.Service{},
	}
	for name, port := range p.services() {
		rpc := config.RPC{GRPCPort: port, BindOnIP: loopback}
		if name == primitives.FrontendService {
			rpc.HTTPPort = p.http
		}
		cfg.Services[string(name)] = config.Service{RPC: rpc}
	}
	return cfg
}

// dynamicConfig holds the settings whose stock values are made for clusters.
func dynamicConfig(p ports) dynamicconfig.StaticClient {
	return dynamicconfig.StaticClient{
		dynamicconfig.TransferProcessorMaxPollRPS.Key():         pollRPS,
		dynamicconfig.TimerProcessorMaxPollRPS.Key():            pollRPS,
		dynamicconfig.VisibilityProcessorMaxPollRPS.Key():       pollRPS,
		dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():  partitions,
		dynamicconfig.MatchingNumTaskqueueWritePartitions.Key(): partitions,
		// The server's limit of 10 updates in flight for a workflow does harm: when it
		// refuses one, it drops those in flight, which are sent again, so that a crowd
		// keeps everybody from being heard. Their size is limited still.
		// Source: service/history/api/update_workflow_util.go, where any refusal clears
		// the workflow's context, and with it the registry of its updates.
		dynamicconfig.WorkflowExecutionMaxInFlightUpdates.Key(): 0,
		// The version check reports to its makers over the internet.
		dynamicconfig.EnableServerVersionCheck.Key(): false,
		// A page that rebinds its own name to loopback arrives with that name.
		dynamicconfig.FrontendHTTPAllowedHosts.Key(): []string{
			p.address(p.http),
			net.JoinHostPort("localhost", p.text(p.http)),
		},
	}
}
