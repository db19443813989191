package kubernetes_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"

	"github.com/backout/backout/integrations/driver"
)

func TestDiffHoldsEveryRevisionAgainstTheOneInPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy(goodImage)
	collect := func(user string, params map[string]string) (string, error) {
		collector, err := connect(t, w.plane.UserKubeconfig(t, user)).Collector("kubernetes.diff", system)
		require.NoError(t, err)
		evidence, err := collector.Collect(t.Context(), driver.CollectRequest{Target: w.target, Params: params})
		if err != nil {
			return "", err
		}
		require.Len(t, evidence, 1)
		require.Equal(t, "kubernetes.diff "+w.target.Path, evidence[0].Name)
		return string(evidence[0].Content), nil
	}
	text, err := collect("admin", nil)
	require.NoError(t, err)
	require.Contains(t, text, "In place: revision 1 (v1).")
	require.Contains(t, text, "The cluster keeps no other revision.")

	w.update(func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Env[0].Value = "hunter3" })
	w.deploy(badImage)
	w.plane.Grant(t, w.namespace, "backout", leastRights...)
	text, err = collect("backout", nil)
	require.NoError(t, err)
	require.Contains(t, text, "In place: revision 3 (v2-bad).")
	require.Regexp(t, `(?s)=== revision 2 \(v1\), deployed first at \S+Z\n`+
		`~ spec.containers\[shop\].image: "`+badImage+`", would be "`+goodImage+`"\n\n`+
		`=== revision 1 \(v1\), deployed first at \S+Z\n`+
		`~ spec.containers\[shop\].env\[PASSWORD\].value: another value \(hidden\)\n`+
		`~ spec.containers\[shop\].image: "`+badImage+`", would be "`+goodImage+`"\n\z`, text)
	for _, secret := range []string{"hunter2", "hunter3", "sesame"} {
		require.NotContains(t, text, secret)
	}

	_, err = collect("admin", map[string]string{"lines": "10"})
	require.ErrorIs(t, err, driver.ErrInvalid)
	_, err = collect("reader", nil)
	require.ErrorIs(t, err, driver.ErrDenied)
	w.target.Path = "pod/shop"
	_, err = collect("admin", nil)
	require.ErrorIs(t, err, driver.ErrInvalid)
}
