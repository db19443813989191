package blockkit

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type object map[string]any

// long is a text of n characters, none of which is one byte.
func long(n int) string { return strings.Repeat("é", n) }

func plain(s string) object { return object{"type": "plain_text", "text": s} }

func mrkdwn(s string) object { return object{"type": "mrkdwn", "text": s} }

func many[T any](n int, item func(i int) T) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = item(i)
	}
	return out
}

func with(base object, name string, value any) object {
	out := object{}
	maps.Copy(out, base)
	out[name] = value
	return out
}

func button(more ...any) object {
	b := object{"type": "button", "action_id": "a", "text": plain("Go")}
	for i := 0; i+1 < len(more); i += 2 {
		b[more[i].(string)] = more[i+1]
	}
	return b
}

func option(more ...any) object {
	o := object{"text": plain("one"), "value": "1"}
	for i := 0; i+1 < len(more); i += 2 {
		o[more[i].(string)] = more[i+1]
	}
	return o
}

func actions(elements ...object) []object { return []object{{"type": "actions", "elements": elements}} }

func input(element object) []object {
	return []object{{"type": "input", "label": plain("Label"), "element": element}}
}

func section(more ...any) []object {
	s := object{"type": "section", "text": mrkdwn("hello")}
	for i := 0; i+1 < len(more); i += 2 {
		s[more[i].(string)] = more[i+1]
	}
	return []object{s}
}

func menu(more ...any) object {
	m := object{"type": "static_select", "action_id": "a", "options": []object{option()}}
	for i := 0; i+1 < len(more); i += 2 {
		m[more[i].(string)] = more[i+1]
	}
	return m
}

func confirmation(name string, n int) object {
	c := object{"title": plain("Sure?"), "text": plain("Really?"), "confirm": plain("Yes"), "deny": plain("No")}
	return with(c, name, plain(long(n)))
}

func view(more ...any) object {
	v := object{"type": "modal", "title": plain("Title"), "submit": plain("OK"), "blocks": section()}
	for i := 0; i+1 < len(more); i += 2 {
		v[more[i].(string)] = more[i+1]
	}
	return v
}

func link(n int) string {
	return "https://example.com/" + strings.Repeat("a", n-len("https://example.com/"))
}

func encode(t *testing.T, value any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(value)
	require.NoError(t, err)
	return raw
}

// TestLimits proves for each limit that it is allowed and that one more is not.
func TestLimits(t *testing.T) {
	t.Parallel()
	divider := func(int) object { return object{"type": "divider"} }
	cases := []struct {
		name    string
		surface Surface
		limit   int
		path    string // of the problem one beyond the limit
		blocks  func(n int) []object
	}{
		{"blocks of a message", Message, 50, "/blocks", func(n int) []object { return many(n, divider) }},
		{"blocks of a modal", Modal, 100, "/blocks", func(n int) []object { return many(n, divider) }},
		{"blocks of a home tab", Home, 100, "/blocks", func(n int) []object { return many(n, divider) }},
		{"block_id", Message, 255, "/blocks/0/block_id", func(n int) []object { return section("block_id", long(n)) }},
		{"action_id", Message, 255, "/blocks/0/elements/0/action_id", func(n int) []object { return actions(button("action_id", long(n))) }},
		{"section text", Message, 3000, "/blocks/0/text/text", func(n int) []object { return section("text", mrkdwn(long(n))) }},
		{"section fields", Message, 10, "/blocks/0/fields", func(n int) []object {
			return section("fields", many(n, func(int) object { return mrkdwn("x") }))
		}},
		{"field text", Message, 2000, "/blocks/0/fields/0/text", func(n int) []object { return section("fields", []object{mrkdwn(long(n))}) }},
		{"header text", Message, 150, "/blocks/0/text/text", func(n int) []object { return []object{{"type": "header", "text": plain(long(n))}} }},
		{"actions elements", Message, 25, "/blocks/0/elements", func(n int) []object {
			return actions(many(n, func(i int) object { return button("action_id", fmt.Sprint(i)) })...)
		}},
		{"context elements", Message, 10, "/blocks/0/elements", func(n int) []object {
			return []object{{"type": "context", "elements": many(n, func(int) object { return mrkdwn("x") })}}
		}},
		{"context text", Message, 3000, "/blocks/0/elements/0/text", func(n int) []object {
			return []object{{"type": "context", "elements": []object{mrkdwn(long(n))}}}
		}},
		{"image address", Message, 3000, "/blocks/0/image_url", func(n int) []object {
			return []object{{"type": "image", "image_url": link(n), "alt_text": "x"}}
		}},
		{"image alt text", Message, 2000, "/blocks/0/alt_text", func(n int) []object {
			return []object{{"type": "image", "image_url": link(100), "alt_text": long(n)}}
		}},
		{"image title", Message, 2000, "/blocks/0/title/text", func(n int) []object {
			return []object{{"type": "image", "image_url": link(100), "alt_text": "x", "title": plain(long(n))}}
		}},
		{"markdown", Message, 12000, "/blocks/0/text", func(n int) []object { return []object{{"type": "markdown", "text": long(n)}} }},
		{"markdown together", Message, 6000, "/blocks/1/text", func(n int) []object {
			return []object{{"type": "markdown", "text": long(6000)}, {"type": "markdown", "text": long(n)}}
		}},
		{"input label", Modal, 2000, "/blocks/0/label/text", func(n int) []object {
			return []object{{"type": "input", "label": plain(long(n)), "element": menu()}}
		}},
		{"input hint", Modal, 2000, "/blocks/0/hint/text", func(n int) []object {
			return []object{{"type": "input", "label": plain("x"), "hint": plain(long(n)), "element": menu()}}
		}},
		{"button text", Message, 75, "/blocks/0/elements/0/text/text", func(n int) []object { return actions(button("text", plain(long(n)))) }},
		{"button value", Message, 2000, "/blocks/0/elements/0/value", func(n int) []object { return actions(button("value", long(n))) }},
		{"button address", Message, 3000, "/blocks/0/elements/0/url", func(n int) []object { return actions(button("url", link(n))) }},
		{"button accessibility label", Message, 75, "/blocks/0/elements/0/accessibility_label", func(n int) []object {
			return actions(button("accessibility_label", long(n)))
		}},
		{"placeholder", Message, 150, "/blocks/0/elements/0/placeholder/text", func(n int) []object { return actions(menu("placeholder", plain(long(n)))) }},
		{"options", Message, 100, "/blocks/0/elements/0/options", func(n int) []object {
			return actions(menu("options", many(n, func(int) object { return option() })))
		}},
		{"option groups", Message, 100, "/blocks/0/elements/0/option_groups", func(n int) []object {
			group := object{"label": plain("g"), "options": []object{option()}}
			return actions(object{"type": "static_select", "option_groups": many(n, func(int) object { return group })})
		}},
		{"option group label", Message, 75, "/blocks/0/elements/0/option_groups/0/label/text", func(n int) []object {
			group := object{"label": plain(long(n)), "options": []object{option()}}
			return actions(object{"type": "static_select", "option_groups": []object{group}})
		}},
		{"option text", Message, 75, "/blocks/0/elements/0/options/0/text/text", func(n int) []object {
			return actions(menu("options", []object{option("text", plain(long(n)))}))
		}},
		{"option value", Message, 150, "/blocks/0/elements/0/options/0/value", func(n int) []object {
			return actions(menu("options", []object{option("value", long(n))}))
		}},
		{"option description", Message, 75, "/blocks/0/elements/0/options/0/description/text", func(n int) []object {
			return actions(menu("options", []object{option("description", plain(long(n)))}))
		}},
		{"overflow options", Message, 5, "/blocks/0/elements/0/options", func(n int) []object {
			return actions(object{"type": "overflow", "options": many(n, func(int) object { return option() })})
		}},
		{"overflow address", Message, 3000, "/blocks/0/elements/0/options/0/url", func(n int) []object {
			return actions(object{"type": "overflow", "options": []object{option("url", link(n))}})
		}},
		{"checkboxes", Message, 10, "/blocks/0/elements/0/options", func(n int) []object {
			return actions(object{"type": "checkboxes", "options": many(n, func(int) object { return option() })})
		}},
		{"radio buttons", Message, 10, "/blocks/0/elements/0/options", func(n int) []object {
			return actions(object{"type": "radio_buttons", "options": many(n, func(int) object { return option() })})
		}},
		{"input initial value", Modal, 3000, "/blocks/0/element/initial_value", func(n int) []object {
			return input(object{"type": "plain_text_input", "initial_value": long(n)})
		}},
		{"input max_length", Modal, 3000, "/blocks/0/element/max_length", func(n int) []object {
			return input(object{"type": "plain_text_input", "max_length": n})
		}},
		{"input files", Modal, 10, "/blocks/0/element/max_files", func(n int) []object { return input(object{"type": "file_input", "max_files": n}) }},
		{"confirm title", Message, 100, "/blocks/0/elements/0/confirm/title/text", func(n int) []object {
			return actions(button("confirm", confirmation("title", n)))
		}},
		{"confirm text", Message, 300, "/blocks/0/elements/0/confirm/text/text", func(n int) []object {
			return actions(button("confirm", confirmation("text", n)))
		}},
		{"confirm button", Message, 30, "/blocks/0/elements/0/confirm/confirm/text", func(n int) []object {
			return actions(button("confirm", confirmation("confirm", n)))
		}},
		{"confirm deny", Message, 30, "/blocks/0/elements/0/confirm/deny/text", func(n int) []object {
			return actions(button("confirm", confirmation("deny", n)))
		}},
		{"rich text indent", Message, 8, "/blocks/0/elements/0/indent", func(n int) []object {
			item := object{"type": "rich_text_section", "elements": []object{{"type": "text", "text": "x"}}}
			list := object{"type": "rich_text_list", "style": "bullet", "indent": n, "elements": []object{item}}
			return []object{{"type": "rich_text", "elements": []object{list}}}
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.NoError(t, Validate(c.surface, encode(t, c.blocks(c.limit))))
			err := Validate(c.surface, encode(t, c.blocks(c.limit+1)))
			var invalid *Error
			require.ErrorAs(t, err, &invalid)
			require.Len(t, invalid.Problems, 1, "%v", err)
			require.Equal(t, c.path, invalid.Problems[0].Path)
			require.NotContains(t, err.Error(), "ééé", "messages never quote content")
		})
	}
}

// TestViewLimits does the same for the members of a view.
func TestViewLimits(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name  string
		limit int
		path  string
		view  func(n int) object
	}{
		{"title", 24, "/view/title/text", func(n int) object { return view("title", plain(long(n))) }},
		{"submit", 24, "/view/submit/text", func(n int) object { return view("submit", plain(long(n))) }},
		{"close", 24, "/view/close/text", func(n int) object { return view("close", plain(long(n))) }},
		{"callback_id", 255, "/view/callback_id", func(n int) object { return view("callback_id", long(n)) }},
		{"external_id", 255, "/view/external_id", func(n int) object { return view("external_id", long(n)) }},
		{"private_metadata", 3000, "/view/private_metadata", func(n int) object { return view("private_metadata", long(n)) }},
		{"blocks", 100, "/view/blocks", func(n int) object {
			return view("blocks", many(n, func(int) object { return object{"type": "divider"} }))
		}},
		{"home metadata", 3000, "/view/private_metadata", func(n int) object {
			return object{"type": "home", "blocks": section(), "private_metadata": long(n)}
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.NoError(t, ValidateView(encode(t, c.view(c.limit))))
			err := ValidateView(encode(t, c.view(c.limit+1)))
			var invalid *Error
			require.ErrorAs(t, err, &invalid)
			require.Len(t, invalid.Problems, 1, "%v", err)
			require.Equal(t, c.path, invalid.Problems[0].Path)
		})
	}
}
