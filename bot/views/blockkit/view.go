package blockkit

import "encoding/json"

// ValidateView checks a whole modal or Home view. It returns nil when Slack would
// accept it and an *Error otherwise.
//
// Sources: https://docs.slack.dev/reference/views/modal-views and
// https://docs.slack.dev/reference/views/home-tab-views
func ValidateView(view json.RawMessage) error {
	value, err := decode(view)
	if err != nil {
		return &Error{Problems: []Problem{{Path: "/view", Message: "must be valid JSON"}}}
	}
	const path = "/view"
	w := newWalker(0)
	kind, ok := w.kind(path, value)
	if !ok {
		return w.result()
	}
	blocks := func(w *walker, path string, value any) { w.blocks(path, value) }
	shared := []field{
		must("type", typed),
		must("blocks", blocks),
		may("private_metadata", text(0, maxPrivateMetadata)),
		may("callback_id", text(0, maxCallbackID)),
		may("external_id", text(0, maxExternalID)),
	}
	switch kind {
	case "modal":
		w.surface = Modal
		members := w.object(path, value, append(shared,
			must("title", plainText(maxViewTitle)),
			may("submit", plainText(maxViewButton)),
			may("close", plainText(maxViewButton)),
			may("clear_on_close", boolean),
			may("notify_on_close", boolean),
			may("submit_disabled", boolean),
		)...)
		if _, submit := members["submit"]; w.inputs && !submit {
			w.fail(path, "missing required field: submit")
		}
	case "home":
		w.surface = Home
		w.object(path, value, shared...)
	default:
		w.fail(path+"/type", "unsupported type: %s", printable(kind))
	}
	return w.result()
}
