package product

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDoctorTriesDataChecks has a Prometheus that knows one number, and a database that
// is not there.
func TestDoctorTriesDataChecks(t *testing.T) {
	t.Parallel()
	prometheus := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		result := ""
		if q := r.FormValue("query"); q == "vector(1)" || strings.Contains(q, "stuck") {
			result = fmt.Sprintf(`{"metric":{},"values":[[%s,"3"]]}`, r.FormValue("end"))
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"matrix","result":[`+result+`]}}`)
	}))
	t.Cleanup(prometheus.Close)
	book := dataRunbook + "    - {name: nobody exports it, system: prom, promql: gone}\n"
	catalogue := write(t, "catalog-info.yaml", `apiVersion: backstage.io/v1alpha1
kind: Component
metadata: {name: checkout, annotations: {backout.dev/tier: revenue}}
spec: {type: service, lifecycle: production, owner: shop}
`)
	doctor := func(book string) string {
		config := fmt.Sprintf("data: %s\nrunbooks: [%s]\ncatalogue: [%s]\nsystems:\n  - {name: prom, type: prometheus, settings: {url: %q}}\n",
			filepath.Join(t.TempDir(), "data"), write(t, "runbook.yaml", book), catalogue, prometheus.URL)
		_, out, errs := run(t, nil, "doctor", "-c", write(t, "backout.yaml", config))
		require.Contains(t, out, "reachable:", errs)
		return out
	}
	out := doctor(book)
	require.Contains(t, out, `  ok   data check "stuck messages" of runbook a, for checkout`)
	require.Contains(t, out, `  FAIL data check "orders without a payment" of runbook a, for checkout: the system is not configured, or was not reached`)
	require.Contains(t, out, `  FAIL data check "nobody exports it" of runbook a, for checkout: the query found no series, which is not zero`)

	out = doctor(strings.Replace(book, "[checkout]", "[payments]", 1))
	require.Contains(t, out, "  FAIL data checks of runbook a: the catalogue has no service that the runbook matches")
}
