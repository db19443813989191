package fakegithub_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	fakegithub "github.com/backout/backout/test/fakes/github"
)

func TestMarkdown(t *testing.T) {
	t.Parallel()
	const a = `<a rel="noopener noreferrer" href=`
	tests := []struct {
		name, source, want string
	}{
		{name: "heading and paragraph", source: "# One\n\ntwo\nthree", want: "<h1>One</h1><p>two<br>three</p>"},
		{name: "emphasis", source: "**bold** and *soft* and ~~gone~~ a_b_c", want: "<p><strong>bold</strong> and <em>soft</em> and <del>gone</del> a_b_c</p>"},
		{name: "code keeps its text", source: "`**a** <b>`", want: "<p><code>**a** &lt;b&gt;</code></p>"},
		{name: "fence", source: "```sh\n<a> **b**\n```\nafter", want: "<pre><code>&lt;a&gt; **b**\n</code></pre><p>after</p>"},
		{name: "fence without an end", source: "```\nx", want: "<pre><code>x\n</code></pre>"},
		{name: "list with boxes", source: "- [ ] todo\n- [x] done\n  - deeper\n- last", want: `<ul><li class="task"><input type="checkbox" disabled> todo</li><li class="task"><input type="checkbox" disabled checked> done<ul><li>deeper</li></ul></li><li>last</li></ul>`},
		{name: "ordered", source: "1. one\n2. two", want: "<ol><li>one</li><li>two</li></ol>"},
		{name: "table", source: "| a | b |\n|---|:-:|\n| 1 | x \\| y |\n", want: `<div class="scroll"><table><thead><tr><th>a</th><th>b</th></tr></thead><tbody><tr><td>1</td><td>x | y</td></tr></tbody></table></div>`},
		{name: "quote", source: "> said\n> more", want: "<blockquote><p>said<br>more</p></blockquote>"},
		{name: "rule", source: "---", want: "<hr>"},
		{name: "link", source: "[text](https://example.com/a?b=1&c=2)", want: "<p>" + a + `"https://example.com/a?b=1&amp;c=2">text</a></p>`},
		{name: "bare link", source: "see https://example.com/x", want: "<p>see " + a + `"https://example.com/x">https://example.com/x</a></p>`},
		{name: "angled link", source: "<https://example.com/x>.", want: "<p>" + a + `"https://example.com/x">https://example.com/x</a>.</p>`},
		{name: "script link", source: "[x](javascript:alert(1))", want: "<p>[x](javascript:alert(1))</p>"},
		{name: "data link", source: "[x](data:text/html,y)", want: "<p>x</p>"},
		{name: "attribute in a link", source: `[x](https://e.com/"onclick=1)`, want: "<p>" + a + `"https://e.com/&#34;onclick=1">x</a></p>`},
		{name: "markup", source: "<img src=x onerror=alert(1)>", want: "<p>&lt;img src=x onerror=alert(1)&gt;</p>"},
		{
			name: "picture of two themes", source: `<picture><source media="(prefers-color-scheme: dark)" srcset="https://e.com/d.png?raw=true&amp;x=1"><img alt="a &lt;b&gt; &quot;c&quot;" src="https://e.com/l.png" width="320"></picture>`,
			want: `<p><picture><source media="(prefers-color-scheme: dark)" srcset="https://e.com/d.png?raw=true&amp;x=1"><img alt="a &lt;b&gt; &#34;c&#34;" src="https://e.com/l.png" width="320"></picture></p>`,
		},
		{name: "what a picture may not have", source: `<img alt="a" onerror="alert(1)" style="x" src="javascript:alert(1)" width="9999999">`, want: `<p><img alt="a"></p>`},
		{name: "what a source may not have", source: `<picture><source media="print" onload="x" srcset="data:x"><img src="https://e.com/l.png"></picture>`, want: `<p><picture><source><img src="https://e.com/l.png"></picture></p>`},
		{name: "picture that is none", source: `<picture><script>x</script></picture>`, want: "<p>&lt;picture&gt;&lt;script&gt;x&lt;/script&gt;&lt;/picture&gt;</p>"},
		{name: "picture in a table", source: "| a |\n|---|\n| <img alt=\"x &#124; y\" src=\"https://e.com/l.png\"> b |\n", want: `<div class="scroll"><table><thead><tr><th>a</th></tr></thead><tbody><tr><td><img alt="x | y" src="https://e.com/l.png"> b</td></tr></tbody></table></div>`},
		{name: "picture of Markdown", source: "![a](https://e.com/l.png)", want: `<p><img alt="a" src="https://e.com/l.png"></p>`},
		{name: "entity", source: "&lt;b&gt; &amp; more", want: "<p>&lt;b&gt; &amp; more</p>"},
		{name: "comment", source: "a<!-- hidden\nlines -->b", want: "<p>ab</p>"},
		{name: "escape", source: `\*not\* \[a\]`, want: "<p>*not* [a]</p>"},
		{name: "details", source: "<details>\n<summary>More</summary>\n\ntext\n</details>", want: "<details><summary>More</summary><p>text</p></details>"},
		{name: "details without an end", source: "<details>\n</details>\n</details>\n<details>", want: "<details></details><details></details>"},
		{name: "placeholder", source: "\x000\x00 `a`", want: "<p>0 <code>a</code></p>"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, string(fakegithub.Markdown(tt.source)))
		})
	}
}
