// Sends the page's one form to the site that it is for. It came from our own
// markup, and the page's form-action allows no other. Without script the person
// presses the button.
(function () {
  "use strict";
  var form = document.getElementById("post");
  // Not form.submit: a field of that name would stand in its place.
  if (form) HTMLFormElement.prototype.submit.call(form);
})();
