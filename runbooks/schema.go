package runbooks

import (
	"embed"
	"slices"
)

// Schema is the published JSON Schema (draft 2020-12) of runbooks. The parser
// refuses everything that the schema refuses; what a schema can not say, such
// as that names are unique or that durations fit together, the parser alone
// refuses.
//
//go:embed runbook.schema.json
var Schema []byte

//go:embed catalog/*.yaml
var catalog embed.FS

// Examples are the runbooks that ship with Backout, ordered by file name.
func Examples() ([]File, error) {
	entries, err := catalog.ReadDir("catalog")
	if err != nil {
		return nil, err
	}
	var out []File
	for _, e := range entries {
		name := "catalog/" + e.Name()
		content, err := catalog.ReadFile(name)
		if err != nil {
			return nil, err
		}
		out = append(out, File{Name: name, Content: content})
	}
	return slices.Clip(out), nil
}
