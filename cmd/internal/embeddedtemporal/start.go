// Package embeddedtemporal starts the Temporal server that a single binary
// brings along. Only programs that link the server import it.
package embeddedtemporal

import (
	"context"
	"log/slog"
	"net/http"
	"path/filepath"

	"github.com/backout/backout/cmd/internal/product"
	"github.com/backout/backout/workflows/worker"
	"github.com/backout/backout/workflows/worker/codec"
	"github.com/backout/backout/workflows/worker/embedded"
)

// Start is a product.StartTemporal.
func Start(ctx context.Context, c product.Config, cdc *codec.Codec, log *slog.Logger) (product.Temporal, error) {
	s, err := embedded.Start(ctx, embedded.Options{
		Dir: filepath.Join(c.Data, product.TemporalFolder), Namespace: c.Temporal.Namespace,
		FrontendPort: c.Temporal.Port, UIPort: c.Temporal.UIPort, Retention: c.Temporal.Retention,
		Logger: log, SearchAttributes: worker.SearchAttributes(),
		UICodec: func(origin string) (http.Handler, error) {
			return codec.NewHandler(cdc, codec.HandlerOptions{Origin: origin})
		},
	})
	if err != nil {
		return product.Temporal{}, err
	}
	return product.Temporal{Address: s.Address(), UI: s.UIAddress(), Stop: s.Stop}, nil
}
