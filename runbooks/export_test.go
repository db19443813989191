package runbooks

import (
	"reflect"

	"github.com/backout/backout/runbooks/strict"
)

// ParserKeys are the keys that the parser knows, by the schema's definitions.
func ParserKeys() map[string]map[string]strict.Field {
	return map[string]map[string]strict.Field{
		"":         strict.Fields(reflect.TypeFor[runbookDoc]()),
		"metadata": strict.Fields(reflect.TypeFor[metadataDoc]()),
		"match":    strict.Fields(reflect.TypeFor[matchDoc]()),
		"target":   strict.Fields(reflect.TypeFor[targetDoc]()),
		"watch":    strict.Fields(reflect.TypeFor[watchDoc]()),
		"option":   strict.Fields(reflect.TypeFor[optionDoc]()),
		"action":   strict.Fields(reflect.TypeFor[actionDoc]()),
		"evidence": strict.Fields(reflect.TypeFor[evidenceDoc]()),
		"recovery": strict.Fields(reflect.TypeFor[recoveryDoc]()),
		"sli":      strict.Fields(reflect.TypeFor[sliDoc]()),
	}
}
