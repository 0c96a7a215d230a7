package command

import (
	"html/template"
	"net/http"
)

// demoURLs are the pictures that the demo shows.
var demoURLs = []struct{ url, what string }{
	{"/photos/chelsea.png?w=400&fm=webp", "400 pixels wide, as WebP"},
	{"/photos/astronaut.png?w=300&h=300&fit=crop&crop=top", "a square, cut from the top"},
	{"/photos/coffee.png?w=400&h=300&fit=fill&bg=2b1a10", "inside a box, filled with a colour"},
	{"/photos/rocket.jpg?w=400&h=300&fit=crop&crop=entropy", "cut where most is to be seen"},
	{"/photos/hubble_deep_field.jpg?w=400&h=300&fit=crop&crop=focalpoint&fp-x=0.7&fp-y=0.3", "cut around a focal point"},
	{"/photos/retina.jpg?w=300&h=300&rot=90&flip=h", "turned and mirrored"},
	{"/photos/rocket.jpg?w=400&mark=/photos/chelsea.png&mark-w=0.25&mark-alpha=80", "with a watermark"},
	{"/photos/coffee.png?w=400&auto=format&q=60", "in the best format for this browser"},
	{"/photos/rocket.jpg", "the original"},
}

var demoTemplate = template.Must(template.New("demo").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>imagecdn</title>
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 76rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-weight: 600 }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1.5rem }
figure { margin: 0 }
figure a { display: flex; height: 15rem; align-items: center; justify-content: center; background: #8882; border-radius: .5rem; overflow: hidden }
img { max-width: 100%; max-height: 100%; display: block }
figcaption { margin-top: .4rem }
code { font-size: .8rem; overflow-wrap: anywhere; opacity: .8 }
</style>
<h1>imagecdn</h1>
<p>Each picture is made when it is first asked for, and kept. Reload the page, or look at the <code>Cache-Status</code> of a response, to see it come from the cache.</p>
<main>
{{range .}}<figure><a href="{{.URL}}"><img src="{{.URL}}" alt="{{.What}}" loading="lazy"></a><figcaption>{{.What}}<br><code>{{.URL}}</code></figcaption></figure>
{{end}}</main>
</html>
`))

// demoPage shows the sample photographs in many forms.
func demoPage() http.Handler {
	type shown struct{ URL, What string }
	var all []shown
	for _, u := range demoURLs {
		all = append(all, shown{u.url, u.what})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'")
		_ = demoTemplate.Execute(w, all) // a client that has gone needs no page
	})
}
