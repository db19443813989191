package views

import (
	"fmt"
	"html"
	"strings"

	"github.com/backout/backout/workflows/incident"
)

// pinned is a pinned message on one line, with links to it and to its images.
func pinned(v incident.View, pin incident.Pin) string {
	parts := []string{"📌 “" + Markdown(pin.Text, incident.MaxPinText) + "”"}
	if !pin.EditedAt.IsZero() {
		parts = append(parts, "(edited "+dated(v, pin.EditedAt)+")")
	}
	parts = append(parts, labelled("message", pin.URL))
	if pin.By != "" && pin.By != pin.Author {
		parts = append(parts, "(pinned by "+mdName(pin.By)+")")
	}
	for i, image := range pin.Images {
		if i == incident.MaxPinImages {
			break
		}
		parts = append(parts, pinnedImage(image))
	}
	return join(parts...)
}

// pinnedWidth is how wide an image of a pinned message is in the timeline, in pixels.
const pinnedWidth = 320

// pinnedImage is an image of a pinned message: itself where the issue can show it, with
// a link to where it was said, and the link alone otherwise.
func pinnedImage(image incident.PinImage) string {
	name := Plain(orElse(image.Name, "image"), maxName)
	link := labelled("🖼 "+mdName(name), image.URL)
	if Link(image.Shown) == "" {
		if image.Missing != "" {
			link = join(link, "(no copy: "+md(image.Missing)+")")
		}
		return link
	}
	return join(fmt.Sprintf(`<br><img alt="%s" src="%s" width="%d">`, attribute("Pinned image: "+name), html.EscapeString(image.Shown), pinnedWidth), link)
}

// attribute is text from outside for an attribute of HTML that stands in a table of
// GitHub's Markdown: on one line, with nothing in it that either would read.
func attribute(text string) string {
	return strings.NewReplacer("|", "&#124;", "`", "&#96;", "\\", "&#92;", "@", "&#64;").Replace(html.EscapeString(text))
}
