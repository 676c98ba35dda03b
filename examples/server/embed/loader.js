// Draws a data set as a table where the script tag that loaded this file stands:
//
//   <script src="https://HOST/io/loader/DATASET/table/STYLE" data-token="TOKEN"></script>
//
// The token says which rows are seen; the server does the choosing. Every value is put into the page as text.
(function () {
  'use strict';
  var dataset = __DATASET__; // {id, name, columns: [{id, name}]}, put in by the server
  var messages = {
    noAccess: 'You have no access to this table, or the page was open for too long. Load it again.',
    noToken: 'This table cannot be shown: its script tag has no data-token.',
    rateLimited: 'Too many requests. Try again in a moment.',
    invalidCondition: 'This table cannot be shown: a condition does not fit its column.',
    unknownColumn: 'This table cannot be shown: a condition names a column that it does not have.',
    unavailable: 'This table cannot be loaded at the moment.'
  };

  var tag = document.currentScript;
  var token = tag.getAttribute('data-token');
  var source = new URL(tag.src);
  var style = source.pathname.split('/').pop();
  var prefix = source.pathname.slice(0, source.pathname.indexOf('loader/'));

  function element(name, attributes, text) {
    var made = document.createElement(name);
    for (var key in attributes) made.setAttribute(key, attributes[key]);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  var box = element('div', { 'class': 'latchkey-table latchkey-style-' + style, 'aria-busy': 'true' });
  var note = element('p', { role: 'status' }, 'Loading ' + dataset.name + '…');
  box.appendChild(note);
  tag.parentNode.insertBefore(box, tag.nextSibling);

  function fail(key) {
    box.replaceChildren(element('p', { role: 'alert' }, messages[key] || messages.unavailable));
    box.setAttribute('aria-busy', 'false');
  }

  function draw(rows) {
    var table = element('table');
    table.appendChild(element('caption', {}, dataset.name));
    var head = element('tr');
    dataset.columns.forEach(function (column) { head.appendChild(element('th', { scope: 'col' }, column.name)); });
    table.appendChild(element('thead')).appendChild(head);
    var body = table.appendChild(element('tbody'));
    rows.forEach(function (row) {
      var line = element('tr', { 'data-id': row.id });
      dataset.columns.forEach(function (column) {
        var value = row[column.id];
        line.appendChild(element('td', {}, value === null || value === undefined ? '' : String(value)));
      });
      body.appendChild(line);
    });
    note.textContent = rows.length === 1 ? '1 row' : rows.length + ' rows';
    box.insertBefore(table, note);
    box.setAttribute('aria-busy', 'false');
  }

  if (!token) {
    fail('noToken');
    return;
  }
  var address = source.origin + prefix + 'dataset/' + encodeURIComponent(dataset.id) + '/table?token=' +
    encodeURIComponent(token);
  fetch(address, { cache: 'no-store', credentials: 'omit' })
    .then(function (reply) { return reply.json(); })
    .then(function (reply) {
      if (reply.success === true && Array.isArray(reply.data)) draw(reply.data);
      else fail(reply.errors && reply.errors[0] && reply.errors[0].msg);
    })
    .catch(function () { fail('unavailable'); });
})();
