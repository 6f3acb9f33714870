# SPDX-License-Identifier: MIT
"""paramiko under the patch: its server and its clients in one OS thread."""
from server_support import START, need_module
from support import check_script


def test_paramiko_runs_commands_of_many_clients_at_once():
    need_module("paramiko", "python3-paramiko")
    check_script(START + """
    import socket
    import warnings
    warnings.simplefilter("ignore")
    import paramiko

    host_key, user_key = paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate()
    class Session(paramiko.ServerInterface):
        meeting = Meeting(20)
        def get_allowed_auths(self, username):
            return "publickey"
        def check_auth_publickey(self, username, key):
            return paramiko.AUTH_SUCCESSFUL if key == user_key else paramiko.AUTH_FAILED
        def check_channel_request(self, kind, channel):
            return paramiko.OPEN_SUCCEEDED
        def check_channel_exec_request(self, channel, command):
            threading.Thread(target=self.execute, args=(channel, command), daemon=True).start()
            return True
        def execute(self, channel, command):
            with self.meeting:
                pass
            channel.sendall(command.upper() + channel.makefile("rb").read())
            channel.send_exit_status(len(command))
            channel.close()

    listener = socket.create_server(("127.0.0.1", 0), backlog=50)
    def serve():
        while True:
            transport = paramiko.Transport(listener.accept()[0])
            transport.add_server_key(host_key)
            transport.start_server(event=threading.Event(), server=Session())
    threading.Thread(target=serve, daemon=True).start()

    def connect():
        client = paramiko.SSHClient()
        client.get_host_keys().add("[127.0.0.1]:%d" % port, host_key.get_name(), host_key)
        client.connect("127.0.0.1", port, "ann", pkey=user_key, allow_agent=False,
                       look_for_keys=False, timeout=60, banner_timeout=60, auth_timeout=60)
        return client
    port = listener.getsockname()[1]
    def work(n):
        client = clients[n % 4]
        stdin, stdout, stderr = client.exec_command(f"say {n}", timeout=60)
        stdin.write("x" * n * 10_000)
        stdin.channel.shutdown_write()
        return stdout.read().decode(), stdout.channel.recv_exit_status()
    clients = at_once(4, lambda n: connect())
    results = at_once(20, work)
    assert results == [(f"SAY {n}" + "x" * n * 10_000, len(f"say {n}")) for n in range(20)]
    for client in clients:
        client.close()
    print("ok")
    """, timeout=120)
