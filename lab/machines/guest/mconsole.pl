# mconsole.pl SOCKET REPLY WORD...: one request to the management console of a User Mode Linux machine; prints the answer
# and exits 1 when the machine says that it failed. Node.js has no datagram sockets of this family, and perl is on every
# Debian. Layout of request and reply: arch/um/include/asm of the kernel, struct mconsole_request and mconsole_reply.
use strict;
use warnings;
use Socket;
my ($to, $me, @words) = @ARGV;
my $word = join ' ', @words;
socket(my $socket, AF_UNIX, SOCK_DGRAM, 0) or die "socket: $!\n";
bind($socket, sockaddr_un($me)) or die "bind $me: $!\n";
END { unlink $me if defined $me }
$SIG{ALRM} = sub { die "no answer in 10 s\n" };
alarm 10;
send($socket, pack('LLLa512', 0xcafebabe, 2, length $word, $word), 0, sockaddr_un($to)) or die "send: $!\n";
my ($failed, $more) = (0, 1);
while ($more) {
  recv($socket, my $reply, 2048, 0);
  ($failed, $more, my $length) = unpack('LLL', $reply);
  my $text = substr($reply, 12, $length);
  $text =~ tr/\0//d;
  print $text;
}
exit($failed ? 1 : 0);
