// Command floor is the least a proxy in Go costs: httputil.ReverseProxy on a tuned
// http.Transport, and nothing else. The bench in bench/gate measures against it.
package main
