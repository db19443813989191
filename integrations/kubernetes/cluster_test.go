package kubernetes

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/backout/backout/integrations/driver"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	cfg := clientcmdapi.NewConfig()
	for _, name := range []string{"one", "two"} {
		cfg.Clusters[name] = &clientcmdapi.Cluster{Server: "https://" + name + ".example"}
		cfg.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: name}
		cfg.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	}
	cfg.CurrentContext = "one"
	require.NoError(t, clientcmd.WriteToFile(*cfg, path))
	tests := []struct {
		name     string
		settings Settings
		host     string
		err      string
	}{
		{name: "current context", settings: Settings{Kubeconfig: path}, host: "https://one.example"},
		{name: "named context", settings: Settings{Kubeconfig: path, Context: "two"}, host: "https://two.example"},
		{name: "no such context", settings: Settings{Kubeconfig: path, Context: "three"}, err: `context "three" does not exist`},
		{name: "no such file", settings: Settings{Kubeconfig: path + "-absent"}, err: "no such file"},
		{name: "context of no file", settings: Settings{Context: "two"}, err: "needs a kubeconfig"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := clientConfig(test.settings)
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.host, got.Host)
		})
	}
}

func TestOpenRefusesBadSettings(t *testing.T) {
	t.Parallel()
	refused := errors.New("unknown key")
	_, err := driver.Open(t.Context(), []driver.System{{Name: "prod", Type: "kubernetes", Decode: func(any) error { return refused }}})
	require.ErrorIs(t, err, refused)
}

func TestClassify(t *testing.T) {
	t.Parallel()
	resource := schema.GroupResource{Group: "apps", Resource: "deployments"}
	tests := []struct {
		name string
		err  error
		is   error // nil: one that can be tried again.
		says string
	}{
		{name: "not found", err: apierrors.NewNotFound(resource, "shop"), is: driver.ErrNotFound},
		{name: "forbidden", err: apierrors.NewForbidden(resource, "shop", nil), is: driver.ErrDenied},
		{name: "unauthorized", err: apierrors.NewUnauthorized("no"), is: driver.ErrDenied},
		{name: "bad request", err: apierrors.NewBadRequest("no"), is: driver.ErrInvalid},
		{name: "too large", err: apierrors.NewRequestEntityTooLargeError("no"), is: driver.ErrInvalid},
		{name: "conflict", err: apierrors.NewConflict(resource, "shop", nil), is: errConflict},
		{name: "unprocessable", err: apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "patch", resource, "shop", "", 0, false), is: errInvalid},
		{name: "invalid field", err: apierrors.NewInvalid(schema.GroupKind{Group: "apps", Kind: "Deployment"}, "shop", field.ErrorList{
			field.Invalid(field.NewPath("spec", "template", "spec", "containers").Index(0).Child("env").Index(1).Child("value"), "hunter2", "may not be specified"),
		}), is: errInvalid, says: "spec.template.spec.containers[0].env[1].value (FieldValueInvalid)"},
		{name: "admission webhook that talks much", err: apierrors.NewForbidden(resource, "shop", errors.New("no images\n\x1b[31m"+strings.Repeat("é", 5000))), is: driver.ErrDenied, says: "no images  [31m"},
		{name: "throttled", err: apierrors.NewTooManyRequests("slow down", 1)},
		{name: "server is starting", err: apierrors.NewServiceUnavailable("starting")},
		{name: "server error", err: apierrors.NewInternalError(errors.New("etcd"))},
		{name: "time-out at the server", err: apierrors.NewTimeoutError("late", 1)},
		{name: "a page of a list is gone", err: apierrors.NewResourceExpired("continue")},
		{name: "deadline", err: &url.Error{Op: "Get", URL: "https://u:p@host", Err: context.DeadlineExceeded}},
		{name: "no connection", err: &url.Error{Op: "Get", URL: "https://u:p@host", Err: &net.OpError{Op: "dial", Err: errors.New("refused")}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := classify(test.err)
			require.NotContains(t, got.Error(), "hunter2")
			require.NotContains(t, got.Error(), "\n")
			require.LessOrEqual(t, utf8.RuneCountInString(got.Error()), maxAnswer+50)
			require.Contains(t, got.Error(), test.says)
			if test.is != nil {
				require.ErrorIs(t, got, test.is)
				return
			}
			require.Error(t, got)
			require.False(t, driver.Final(got), "%v", got)
			require.NotContains(t, got.Error(), "u:p")
		})
	}
}
