# Signs requests as sign.js does, in another language.
use strict;
use warnings;
use Digest::SHA qw(sha256_hex hmac_sha256_hex);
use JSON::PP qw(decode_json);
use MIME::Base64 qw(decode_base64);

$| = 1;
while (my $line = <STDIN>) {
    my $r = decode_json($line);
    utf8::encode($r->{$_}) for qw(method path query host date token key);
    my $stamp     = substr($r->{date}, 0, 8);
    my $canonical = join "\n", $r->{method}, $r->{path}, $r->{query}, "host:$r->{host}", "x-iex-date:$r->{date}", "",
        "host;x-iex-date", sha256_hex(decode_base64($r->{body}));
    my $text = join "\n", "IEX-HMAC-SHA256", $r->{date}, "$stamp/iex_request", sha256_hex($canonical);
    my $key  = hmac_sha256_hex("iex_request", hmac_sha256_hex($stamp, $r->{key}));
    print "IEX-HMAC-SHA256 Credential=$r->{token}/$stamp/iex_request, SignedHeaders=host;x-iex-date, Signature=",
        hmac_sha256_hex($text, $key), "\n";
}
