// Runs in a page, behind the npm package mootools (its serializer and its JSON, as published; that build has no Request).
// SK.API is called as the vendor's applications call it, and sends what MooTools' Request.JSON sends: the same headers,
// a form by POST or a query by GET, the parameters by Object.toQueryString, the reply by JSON.decode.
'use strict';
window.SK = {
  API: class {
    constructor(authToken, { method = 'post', inURL = [] } = {}) {
      Object.assign(this, { authToken, method, inURL });
    }

    // callback(success, message, data). A status that is no 2xx and a reply that is no object never reach the callback
    // with a message: Request.JSON calls that a failure and looks no further.
    execute(cmd, params, callback) {
      const all = Object.merge({ cmd, auth_token: this.authToken }, params);
      const query = Object.filter(all, (_, name) => this.method === 'get' || this.inURL.contains(name));
      const body = Object.filter(all, (_, name) => !(name in query));
      const xhr = new XMLHttpRequest();
      const search = Object.toQueryString(query);
      xhr.open(this.method.toUpperCase(), '/api' + (search && '?' + search), true);
      xhr.setRequestHeader('X-Requested-With', 'XMLHttpRequest');
      xhr.setRequestHeader('Accept', 'application/json');
      xhr.setRequestHeader('X-Request', 'JSON');
      if (this.method === 'post') {
        xhr.setRequestHeader('Content-type', 'application/x-www-form-urlencoded; charset=utf-8');
      }
      xhr.onload = () => {
        let reply = null;
        if (xhr.status >= 200 && xhr.status < 300) reply = JSON.decode(xhr.responseText, true);
        this.text = xhr.responseText;
        if (reply === null) callback(false, undefined, undefined);
        else callback(reply.return_code === 'SUCCESS', reply.message, reply.data);
      };
      xhr.onerror = () => callback(false, undefined, undefined);
      xhr.send(this.method === 'post' ? Object.toQueryString(body) : null);
      this.sent = search + '&' + Object.toQueryString(body);
    }
  },
};

// What the test calls. Parameters are JavaScript, so that the page builds them as an application would.
window.run = (token, options, cmd, params) => new Promise((resolve) => {
  const api = new SK.API(token, options);
  api.execute(cmd, params, (success, message, data) => {
    resolve({ success, message, data: JSON.encode(data), text: api.text, sent: api.sent });
  });
});
