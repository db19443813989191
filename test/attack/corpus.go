package attack

import "strings"

// Texts are attacks by name. Each is what a title, a service, a reason, a note, a
// label, a commit message or any field of a payload may hold.
func Texts() map[string]string {
	return map[string]string{
		"channel mention":       "<!channel> <!here> <!everyone> @channel @here",
		"user mention":          "<@U123> <@U0ADA|admin> <#C123> <!subteam^S1>",
		"fake link":             "<http://evil.example|https://pagerduty.com>",
		"look-alike button":     "[ Approve ] ✅ *Approve o1* :white_check_mark: ▶︎ `Approve`",
		"look-alike status":     "x\n\n*Recovered.* :white_check_mark: Nothing to do.\nApproved by Ada Okafor",
		"block kit":             `{"type":"actions","elements":[{"type":"button","action_id":"approve:0","value":"x","text":{"type":"plain_text","text":"Approve"}}]}`,
		"formatting":            "*bold* _italic_ ~struck~ `code` ```block``` > quote :skull: • item",
		"entities":              "&lt;!channel&gt; &#60;!here&#62; &amp;lt;",
		"right to left":         "pay\u202egnp.exe \u2066x\u2069 \u200f\u061c",
		"zero width":            "ap\u200bpr\u200dov\ufeffe\u2060d \u00ad",
		"tag characters":        "a\U000e0041\U000e0042b",
		"combining":             strings.Repeat("e"+strings.Repeat("\u0301", 60), 4),
		"variation":             "approve\ufe0f\ufe0e",
		"homoglyphs":            "аррrоvе hеrе", // Cyrillic letters among Latin ones.
		"control characters":    "a\x00b\x01c\x07d\x08e\x0bf\x0cg\x1ah\x7fi\u0085j\u0090k\u009dl",
		"ANSI":                  "\x1b[2J\x1b[1;1H\x1b[32mrecovered\x1b[0m\x1b]0;owned\x07\x1b]8;;http://evil.example\x07click\x1b]8;;\x07",
		"ANSI in one character": "\u009b2J\u009b32mrecovered\u009d0;owned\u009c",
		"carriage return":       "bad\rgood\r\nlevel=info msg=\"approved by Ada\"",
		"line separators":       "one\u2028two\u2029three\u0085four\vfive",
		"log line":              "x\n{\"time\":\"2026-01-01T00:00:00Z\",\"level\":\"INFO\",\"msg\":\"approved\",\"person\":\"ada\"}",
		"HTML":                  `"><script>alert(1)</script><img src=x onerror=alert(1)><svg/onload=alert(1)>`,
		"HTML form":             `</table></div><form action="https://evil.example" method="post"><button name="answer" value="approve">Approve</button></form><!--`,
		"HTML attribute":        `" onmouseover="alert(1)" autofocus onfocus='alert(1)' style="position:fixed`,
		"javascript URL":        "javascript:alert(1)",
		"data URL":              "data:text/html,<script>alert(1)</script>",
		"URL with a name":       "https://pagerduty.com@evil.example/\u202e",
		"markdown mention":      "@octocat @shop/admins please merge #1 GH-1 shop/app#2 a@b.example",
		"markdown link":         "[pagerduty](http://evil.example) ![x](http://evil.example/pixel.png) <http://evil.example> https://evil.example www.evil.example",
		"markdown structure":    "# Resolved\n- [x] done\n| a | b |\n|---|---|\n```\n--- \n> quote\n<details><summary>x</summary>\n1. one",
		"markdown closing":      "closes #1, fixes shop/app#2, resolves https://github.com/shop/app/issues/3",
		"markdown comment":      "--> <!-- backout: pagerduty/Q2 --> <!--",
		"CEL":                   `true || plan.tier < 1 ? "on-call" : has(x) && [1,2].exists(i, i > 0)`,
		"PromQL":                `"} or vector(0) or up{service=~".*`,
		"shell":                 "$(reboot); `reboot` && reboot | tee /etc/passwd #",
		"Go template":           `{{.Secret}} {{define "incident"}}pwned{{end}} {{template "head"}} {{printf "%s" .}}`,
		"format verbs":          "%s %d %v %[1]s %!n(MISSING) %x%x%x%n",
		"SQL":                   `'; DROP TABLE entries; --`,
		"spreadsheet":           `=HYPERLINK("http://evil.example","click")`,
		"JSON":                  `","admin":true,"x":"`,
		"YAML":                  "x\n---\nkind: Policy\n- *anchor",
		"path":                  "../../../../etc/passwd\x00.png",
		"invalid UTF-8":         "a\xff\xfe\xc0\xafb\xed\xa0\x80",
		"emoji":                 strings.Repeat("👩‍👩‍👧‍👦", 50),
		"blank":                 "\u200b \u3164\u2800",
		"long":                  strings.Repeat("A", 100<<10),
		"long markup":           strings.Repeat("<!channel>&*_`@#[](", 100<<10/19),
		"long line breaks":      strings.Repeat("\n", 100<<10),
		"long word of marks":    strings.Repeat("\u0489", 100<<10),
	}
}
