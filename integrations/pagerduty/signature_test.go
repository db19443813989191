package pagerduty_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/pagerduty"
	fakepagerduty "github.com/backout/backout/test/fakes/pagerduty"
)

func TestVerifySignature(t *testing.T) {
	t.Parallel()
	body := []byte(`{"event":{"id":"é"}}`)
	good := fakepagerduty.Sign(body, false, "new")
	garbled := strings.Replace(good, "v1=", "v1=zz", 1)
	tests := []struct {
		name    string
		secrets []string
		header  string
		body    []byte
		err     error
	}{
		{name: "one", secrets: []string{"new"}, header: good},
		{name: "several signatures", secrets: []string{"old"}, header: fakepagerduty.Sign(body, false, "new", "old")},
		{name: "space after the comma", secrets: []string{"old"}, header: fakepagerduty.Sign(body, true, "new", "old")},
		{name: "line break after the comma", secrets: []string{"old"}, header: strings.ReplaceAll(fakepagerduty.Sign(body, false, "new", "old"), ",", ",\r\n\t")},
		{name: "several secrets", secrets: []string{"next", "new"}, header: good},
		{name: "an empty secret beside a good one", secrets: []string{"", "new"}, header: good},
		{name: "another version beside v1", secrets: []string{"new"}, header: "v2=abcdef," + good},
		{name: "upper-case digits", secrets: []string{"new"}, header: "v1=" + strings.ToUpper(strings.TrimPrefix(good, "v1="))},
		{name: "wrong secret", secrets: []string{"other"}, header: good, err: pagerduty.ErrSignature},
		{name: "changed body", secrets: []string{"new"}, header: good, body: append([]byte(" "), body...), err: pagerduty.ErrSignature},
		{name: "truncated body", secrets: []string{"new"}, header: good, body: body[:5], err: pagerduty.ErrSignature},
		{name: "missing", secrets: []string{"new"}, err: pagerduty.ErrUnsigned},
		{name: "only another version", secrets: []string{"new"}, header: strings.Replace(good, "v1=", "v2=", 1), err: pagerduty.ErrUnsigned},
		{name: "version in upper case", secrets: []string{"new"}, header: strings.Replace(good, "v1=", "V1=", 1), err: pagerduty.ErrUnsigned},
		{name: "not hexadecimal", secrets: []string{"new"}, header: garbled, err: pagerduty.ErrUnsigned},
		{name: "garbled beside a good one", secrets: []string{"new"}, header: good + "," + garbled, err: pagerduty.ErrUnsigned},
		{name: "too short", secrets: []string{"new"}, header: good[:len(good)-2], err: pagerduty.ErrUnsigned},
		{name: "empty signature", secrets: []string{"new"}, header: "v1=", err: pagerduty.ErrUnsigned},
		{name: "too many", secrets: []string{"new"}, header: strings.Repeat(good+",", 17), err: pagerduty.ErrUnsigned},
		{name: "no secret", header: good, err: pagerduty.ErrNoSecret},
		{name: "empty secret signs nothing", secrets: []string{""}, header: fakepagerduty.Sign(body, false, ""), err: pagerduty.ErrNoSecret},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var secrets [][]byte
			for _, s := range tt.secrets {
				secrets = append(secrets, []byte(s))
			}
			content := body
			if tt.body != nil {
				content = tt.body
			}
			err := pagerduty.VerifySignature(secrets, tt.header, content)
			if tt.err == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, tt.err)
			for _, s := range tt.secrets {
				if s != "" {
					require.NotContains(t, err.Error(), s)
				}
			}
			require.NotContains(t, err.Error(), strings.TrimPrefix(good, "v1="))
		})
	}
}
