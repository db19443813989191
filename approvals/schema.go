package approvals

import _ "embed"

// Schema is the published JSON Schema (draft 2020-12) of policies. The parser
// refuses everything that the schema refuses; what a schema can not say, such as
// the order of tiers or the types in a condition, the parser alone refuses.
//
//go:embed policy.schema.json
var Schema []byte
