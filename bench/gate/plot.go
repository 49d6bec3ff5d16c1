package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Sizes of the plot.
const (
	plotWidth  = 860
	plotNames  = 250 // room for names
	plotRow    = 30
	plotBar    = 18
	plotMargin = 60 // right of the longest bar, for its figure
)

// plot draws the CPU time per request as bars, with a line from the lower to the upper
// quartile. It stands on white, also on a dark page.
func (rep *report) plot() string {
	most := 0.0
	for _, c := range rep.list {
		if s := spreadOf(c.measured.cpu); !math.IsNaN(s.high) {
			most = max(most, s.high)
		}
	}
	scale := (plotWidth - plotNames - plotMargin) / max(most, 1)
	height := plotRow*len(rep.list) + 40
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13" role="img">
<title>CPU time of the proxy for one request, in microseconds</title>
<rect width="100%%" height="100%%" fill="#ffffff"/>
<text x="%d" y="20" fill="#444">CPU time of the proxy for one request, in microseconds (median, quartiles)</text>
`, plotWidth, height, plotWidth, height, plotNames)
	for i, c := range rep.list {
		s := spreadOf(c.measured.cpu)
		if math.IsNaN(s.mid) {
			continue
		}
		top := 34 + i*plotRow
		middle := float64(top) + plotBar/2
		colour := "#8a94a6"
		if strings.HasPrefix(c.name, "ssogate") {
			colour = "#1f6feb"
		}
		fmt.Fprintf(&b, `<text x="%d" y="%.0f" text-anchor="end" fill="#111">%s</text>`+"\n", plotNames-10, middle+4, html.EscapeString(c.name))
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", plotNames, top, s.mid*scale, plotBar, colour)
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#111"/>`+"\n", plotNames+s.low*scale, middle, plotNames+s.high*scale, middle)
		fmt.Fprintf(&b, `<text x="%.1f" y="%.0f" fill="#111">%.0f</text>`+"\n", plotNames+s.high*scale+6, middle+4, s.mid)
	}
	b.WriteString("</svg>\n")
	return b.String()
}
