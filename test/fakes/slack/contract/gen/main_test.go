package main

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDerive(t *testing.T) {
	t.Parallel()
	const page = `{"desc":"A sentence.","http_method":"POST","scope":{"bot":["b:write","a:write"]},"rate_limits":"t3",
		"json_input_supported":true,"args":{"required":["token","channel"],"properties":{
		"token":{"type":"string","desc":"A sentence."},"channel":{"type":"string"},"blocks":{"anyOf":[{"type":"string"},{"type":"null"}]}}},
		"errors":{"z_error":{"desc":"A sentence."},"a_error":{"desc":"A sentence."}}}`
	cases := []struct {
		name string
		page string
		want string // empty when the page is refused
	}{
		{
			name: "facts only", page: page,
			want: `{"x.y":{"http":"POST","json":true,"tier":3,"scopes":["a:write","b:write"],"args":{"blocks":{"types":["null","string"]},` +
				`"channel":{"types":["string"],"required":true}},"errors":["a_error","z_error"]}}` + "\n",
		},
		{name: "unknown tier", page: `{"http_method":"GET","rate_limits":"t9"}`},
		{name: "no verb", page: `{"rate_limits":"t1"}`},
		{name: "required but not described", page: `{"http_method":"GET","rate_limits":"t1","args":{"required":["a"]}}`},
		{name: "not JSON", page: `{`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(folder, "x.y.json"), []byte(c.page), 0o600))
			out := filepath.Join(folder, "out")
			err := run([]string{"-methods", folder, "-out", out}, io.Discard)
			if c.want == "" {
				require.Error(t, err)
				require.NoFileExists(t, out)
				return
			}
			require.NoError(t, err)
			got, err := os.ReadFile(out)
			require.NoError(t, err)
			require.Equal(t, c.want, string(got))
		})
	}
}

func TestDeriveNeedsAFolder(t *testing.T) {
	t.Parallel()
	require.Error(t, run(nil, io.Discard))
	require.Error(t, run([]string{"-methods", t.TempDir()}, io.Discard))
}
