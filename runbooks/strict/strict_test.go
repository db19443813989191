package strict_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/runbooks/strict"
)

type inner struct {
	System string `yaml:"system,required"`
	Path   string `yaml:"path"`
}

type document struct {
	Name    string            `yaml:"name,required"`
	Wait    time.Duration     `yaml:"wait"`
	Count   int               `yaml:"count"`
	Share   float64           `yaml:"share"`
	On      bool              `yaml:"on"`
	Targets []inner           `yaml:"targets"`
	Params  map[string]string `yaml:"params"`
	Extra   *inner            `yaml:"extra"`
}

func TestDecodeReadsEveryType(t *testing.T) {
	t.Parallel()
	var got document
	doc, err := strict.Decode(strict.File{Name: "a.yaml", Content: []byte(`# comment
name: "yes"
wait: 1m30s
count: 3
share: 0.5
on: true
targets:
  - {system: nats, path: a/b}
  - system: kube
params: {query: 'up{x="y"}'}
extra:
  system: x
`)}, &got)
	require.NoError(t, err)
	require.Equal(t, document{
		Name: "yes", Wait: 90 * time.Second, Count: 3, Share: 0.5, On: true,
		Targets: []inner{{"nats", "a/b"}, {System: "kube"}}, Params: map[string]string{"query": `up{x="y"}`}, Extra: &inner{System: "x"},
	}, got)
	require.Equal(t, "a.yaml:9:13", doc.At("targets[1].system").String())
	require.Equal(t, 9, doc.At("targets[1].path").Line, "a missing value stands where its parent stands")
	require.True(t, doc.Has("wait"))
	require.False(t, doc.Has("targets[1].path"))
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, want string }{
		{"unknown key", "name: a\nnaem: b\n", `f:2:1: the document: unknown key "naem"`},
		{"unknown nested key", "name: a\ntargets:\n  - system: x\n    pth: y\n", `f:4:5: targets[0]: unknown key "pth"`},
		{"missing key", "count: 1\n", `f:1:1: the document: the key "name" is missing`},
		{"missing nested key", "name: a\ntargets:\n  - path: y\n", `f:3:5: targets[0]: the key "system" is missing`},
		{"empty value", "name:\n", "f:1:1: name: it is empty"},
		{"number for text", "name: 12\n", "f:1:7: name: want text, got a number"},
		{"boolean for text", "name: true\n", "f:1:7: name: want text, got true or false"},
		{"text for number", "name: a\ncount: \"1\"\n", "f:2:8: count: want a whole number, got text"},
		{"fraction for whole number", "name: a\ncount: 1.5\n", "f:2:8: count: want a whole number"},
		{"text for boolean", "name: a\non: yes\n", "f:2:5: on: want true or false, got text"},
		{"NaN", "name: a\nshare: .nan\n", "f:2:8: share: want a number"},
		{"infinity", "name: a\nshare: .inf\n", "f:2:8: share: want a number"},
		{"duration without unit", "name: a\nwait: \"5\"\n", `f:2:7: wait: "5" is not a duration`},
		{"duration as number", "name: a\nwait: 5\n", "f:2:7: wait: want a duration"},
		{"negative duration", "name: a\nwait: -5m\n", `f:2:7: wait: "-5m" is not a duration`},
		{"list for text", "name: [a]\n", "name: want text, got a list"},
		{"text for list", "name: a\ntargets: x\n", "f:2:10: targets: want a list, got text"},
		{"list for keys", "- a\n", "want keys and values, got a list"},
		{"repeated key", "name: a\nname: b\n", "f:2:1: "},
		{"anchor", "name: &x a\n", "name: anchors, aliases, merge keys and tags are not allowed"},
		{"alias", "name: a\nparams: {a: *x}\n", "f:2"},
		{"tag", "name: !!str 12\n", "name: anchors, aliases, merge keys and tags are not allowed"},
		{"merge key", "name: a\n<<: {count: 1}\n", "f:2:1: "},
		{"two documents", "name: a\n---\nname: b\n", "f:3:1: the file holds more than one document"},
		{"no document", "# nothing\n", "f:1:1: the file holds no document"},
		{"not YAML", "name: [\n", "f:1"},
		{"tab", "name: a\n\tcount: 1\n", "f:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := strict.Decode(strict.File{Name: "f", Content: []byte(tt.in)}, &document{})
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestDecodeReportsAllErrorsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := strict.Decode(strict.File{Name: "f", Content: []byte("count: x\nfoo: 1\n")}, &document{})
	require.Len(t, strings.Split(err.Error(), "\n"), 3)
}

func TestDecodeRefusesHugeFiles(t *testing.T) {
	t.Parallel()
	_, err := strict.Split(strict.File{Name: "f", Content: make([]byte, strict.MaxSize+1)})
	require.ErrorContains(t, err, "more than")
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("name: a\ntargets: [{system: x}]\n"))
	f.Add([]byte("name: &a [*a]\n"))
	f.Add([]byte("? {a: b}\n: c\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var d document
		if _, err := strict.Decode(strict.File{Name: "f", Content: in}, &d); err == nil && d.Name == "" {
			require.Contains(t, string(in), "name", "a required key was not missed")
		}
	})
}
