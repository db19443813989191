package strict

import (
	"errors"
	"reflect"

	"github.com/goccy/go-yaml/ast"
)

// Raw is a value that is read later, when its type is known, such as the
// settings of a system whose type stands beside them.
type Raw struct {
	file string
	node ast.Node
}

var rawType = reflect.TypeFor[Raw]()

// IsZero reports whether the document had no such value.
func (r Raw) IsZero() bool { return r.node == nil }

// Decode reads the value into the struct that into points to, as strictly as a
// document. Errors name the place in the file.
func (r Raw) Decode(into any) error {
	if r.IsZero() {
		return errors.New("decode settings: there are none")
	}
	d := &Document{file: r.file, body: r.node, positions: map[string]Position{}}
	return d.Decode(into, KnownKeys)
}
