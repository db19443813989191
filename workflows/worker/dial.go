package worker

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"

	"go.opentelemetry.io/otel/metric"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/opentelemetry"
	"go.temporal.io/sdk/log"

	"github.com/backout/backout/workflows/worker/codec"
)

// DialOptions say which Temporal to use and how.
type DialOptions struct {
	// Address is "host:port".
	Address   string
	Namespace string
	// TLS is nil for a plain connection, which only loopback should be.
	TLS *tls.Config
	// APIKey is sent as a bearer token; it requires TLS.
	APIKey string
	// Codec encrypts every payload; required.
	Codec *codec.Codec
	// Identity names this process in histories.
	Identity string
	Logger   *slog.Logger
	// Meter takes the SDK's metrics; optional.
	Meter metric.Meter
}

// Dial connects to Temporal. Payloads and the texts of failures are encrypted;
// search attributes and workflow types stay readable.
func Dial(ctx context.Context, o DialOptions) (client.Client, error) {
	if o.Codec == nil {
		return nil, fmt.Errorf("dial Temporal at %q: no payload codec given", o.Address)
	}
	if o.APIKey != "" && o.TLS == nil {
		return nil, fmt.Errorf("dial Temporal at %q: an API key needs TLS", o.Address)
	}
	opts := client.Options{
		HostPort: o.Address, Namespace: o.Namespace, Identity: o.Identity,
		DataConverter: o.Codec.DataConverter(), FailureConverter: o.Codec.FailureConverter(),
		Logger:            log.NewStructuredLogger(o.Logger),
		ConnectionOptions: client.ConnectionOptions{TLS: o.TLS},
	}
	if o.APIKey != "" {
		opts.Credentials = client.NewAPIKeyStaticCredentials(o.APIKey)
	}
	if o.Meter != nil {
		opts.MetricsHandler = opentelemetry.NewMetricsHandler(opentelemetry.MetricsHandlerOptions{Meter: o.Meter})
	}
	c, err := client.DialContext(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("dial Temporal at %q: %w", o.Address, err)
	}
	return c, nil
}
