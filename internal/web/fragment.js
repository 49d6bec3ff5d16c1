// A server never sees what stands behind "#" in an address, but a browser
// carries it along redirects. This hands it to the sign-in, so that the person
// comes back to the very place the link named. Without script only that is lost.
(function () {
  "use strict";
  var fragment = location.hash.slice(1);
  var keep = fragment !== "" && fragment.length <= 1024;
  function extend(url) {
    if (!keep) return url;
    return url + (url.indexOf("?") < 0 ? "?" : "&") + "fragment=" + encodeURIComponent(fragment);
  }
  function each(selector, f) {
    Array.prototype.forEach.call(document.querySelectorAll(selector), f);
  }
  if (keep) {
    each("a[data-fragment]", function (a) {
      a.setAttribute("href", extend(a.getAttribute("href")));
    });
    each("form[data-fragment]", function (form) {
      var input = document.createElement("input");
      input.type = "hidden";
      input.name = "fragment";
      input.value = fragment;
      form.appendChild(input);
    });
  }
  // The address comes from our own page's markup, which the server checked.
  var auto = document.body.getAttribute("data-auto");
  if (auto) location.replace(extend(auto));
})();
