// Shows two streams as they are: what arrives, and how and when each ended. The
// WebSocket never reconnects by itself, because the drop is what is to be seen.
(function () {
  "use strict";
  function byId(id) { return document.getElementById(id); }
  function now() { return new Date().toLocaleTimeString([], { hour12: false }); }
  function show(name, state, text) {
    byId(name).setAttribute("data-state", state);
    byId(name + "-state").textContent = text;
  }
  function ticked(name, message) {
    byId(name + "-count").textContent = message.tick;
    byId(name + "-last").textContent = ", the last at " + message.time;
  }

  // RFC 6455 section 7.4.1; 1006 is what a browser says when no close frame came.
  var meaning = {
    1000: "closed normally",
    1001: "going away",
    1006: "cut without a goodbye",
    1008: "refused by policy",
    1011: "the server had an error",
    1012: "the service restarts"
  };

  function connect() {
    var opened = false;
    var socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/ws");
    byId("socket-again").hidden = true;
    show("socket", "waiting", "Connecting…");
    socket.onopen = function () {
      opened = true;
      show("socket", "open", "Open since " + now());
    };
    socket.onmessage = function (event) {
      ticked("socket", JSON.parse(event.data));
      var lamp = byId("socket");
      lamp.classList.remove("beat");
      void lamp.getBoundingClientRect(); // restarts the animation
      lamp.classList.add("beat");
    };
    socket.onclose = function (event) {
      var why = event.reason || meaning[event.code] || "no reason given";
      show("socket", "closed", opened
        ? "Dropped at " + now() + ", code " + event.code + ": " + why
        : "Refused at " + now() + ": the gateway did not let this connection through");
      byId("socket-again").hidden = false;
    };
  }
  byId("socket-again").addEventListener("click", connect);
  connect();

  var events = new EventSource("/events");
  events.onopen = function () { show("events", "open", "Open since " + now()); };
  events.onmessage = function (event) { ticked("events", JSON.parse(event.data)); };
  events.onerror = function () {
    events.close();
    show("events", "closed", "Dropped at " + now());
  };
})();
