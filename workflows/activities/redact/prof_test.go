package redact
import ("testing";"strings";"time";"fmt")
func TestProf(t *testing.T){
	line := "2026-03-01T12:00:00Z INFO checkout: GET https://shop/cart?id=7 200 trace_id=4bf92f3577b34da6a3ce929d0e0e4736 user=bob took=12ms\n"
	doc := []byte(strings.Repeat(line, 2_000))
	for _, s := range spellings { st:=time.Now(); s.replace(doc,0); fmt.Println(time.Since(st), s.what, s.re) }
	st:=time.Now(); redactValues(doc,0,named,looksRandom); fmt.Println("named",time.Since(st))
	st=time.Now(); redactValues(doc,0,vague,looksRandom); fmt.Println("vague",time.Since(st))
	st=time.Now(); redactValues(doc,0,listed,looksRandom); fmt.Println("listed",time.Since(st))
	st=time.Now(); redactValues(doc,0,flagged,looksRandom); fmt.Println("flagged",time.Since(st))
}
